import pytest

from keras_epsanet import EPSANet50Small, ResNet
from keras_epsanet.weights.network_entries import network_entries


def test_the_published_names_of_the_default_model(golden_state_dict):
    entries = network_entries(EPSANet50Small(include_top=False))
    expected = golden_state_dict("epsanet50_small")
    shapes = {
        key: array.shape
        for key, array in expected.items()
        if not key.startswith("fc.") and not key.endswith("_tracked")
    }
    assert {entry.key: entry.torch_shape for entry in entries} == shapes


@pytest.mark.parametrize("attention", [None, "eca", "res2net"])
def test_poolings_that_no_published_network_has_are_refused(attention):
    model = ResNet(
        (1, 1),
        (64, 128),
        attention=attention,
        downsampling="average",
        stem_filters=(8, 8, 16),
        input_shape=(32, 32, 3),
    )
    with pytest.raises(ValueError, match="Only ResNeSt has average.*Received"):
        network_entries(model)


def test_attention_without_published_weights_is_refused():
    model = ResNet((1,), (64,), attention="simam", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="psa, se, cbam.*a network with SimAM"):
        network_entries(model)
