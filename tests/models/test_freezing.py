import pytest

from keras_epsanet import ResNet
from keras_epsanet.models.freezing import check_freeze_stages, freeze


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_the_stem_and_the_first_stages_are_frozen(stages):
    model = ResNet((1, 1), (8, 8), prefix="a_", include_top=False)
    freeze(model, stages, "a_")
    frozen = (
        ("a_conv1_", "a_conv2_", "a_conv3_")[: stages + 1] if stages else ()
    )
    for layer in model.layers:
        if layer.name.startswith("a_conv"):
            assert layer.trainable != layer.name.startswith(tuple(frozen))


def test_all_layers_are_frozen():
    model = ResNet((1,), (8,), include_top=False)
    freeze(model, None, "")
    assert not any(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("stages", [-1, 3, 1.5, "1", True])
def test_other_numbers_are_refused(stages):
    with pytest.raises(ValueError, match="from 0 to 2. Received"):
        check_freeze_stages(stages, 2)
