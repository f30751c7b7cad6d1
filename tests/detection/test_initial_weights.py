"""What the kernels of detectors start with."""

import itertools

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet50Small, EPSANetBackbone
from keras_epsanet.detection import FasterRCNN, MaskRCNN, RetinaNet


def make_backbone():
    return EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        (3, 5, 7, 9),
        (1, 4, 4, 4),
        reduction=4,
    )


def make_retinanet(initializer):
    return RetinaNet(make_backbone(), 3, head_initializer=initializer)


def kernels_of(model):
    """Kernels by their paths."""
    return {
        weight.path: keras.ops.convert_to_numpy(weight)
        for weight in model.weights
        if weight.name == "kernel"
    }


MODELS = {
    "EPSANet": lambda: EPSANet50Small(input_shape=(32, 32, 3)),
    "RetinaNet": lambda: make_retinanet(None),
    "of a shared instance": lambda: make_retinanet(
        keras.initializers.HeNormal()
    ),
    "of a shared seed": lambda: make_retinanet(
        keras.initializers.HeNormal(seed=3)
    ),
    "of a seed generator": lambda: make_retinanet(
        keras.initializers.HeNormal(seed=keras.random.SeedGenerator(3))
    ),
    "FasterRCNN": lambda: FasterRCNN(make_backbone(), 3),
    "MaskRCNN": lambda: MaskRCNN(make_backbone(), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_two_kernels_start_equal(name):
    kernels = kernels_of(MODELS[name]())
    assert len(kernels) > 30
    # Equal draws of another deviation or shape correlate as well.
    starts = {path: x.ravel()[:64] for path, x in kernels.items()}
    for (one, first), (other, second) in itertools.combinations(
        starts.items(), 2
    ):
        size = min(len(first), len(second))
        if size < 32:
            continue
        correlation = np.corrcoef(first[:size], second[:size])[0, 1]
        assert correlation < 0.999, (one, other)


def deviations(model, name):
    return [
        keras.ops.convert_to_numpy(model.get_layer(layer).kernel).std()
        for layer in name
    ]


TOWERS = [
    f"{name}_conv{i}" for name in ("classification", "box") for i in range(1, 5)
]
OUTPUTS = ["classification_output", "box_output"]


@pytest.mark.parametrize(
    "initializer, deviation",
    [(None, 0.01), ("he_normal", (2 / (9 * 256)) ** 0.5)],
)
def test_only_towers_have_the_initializer(initializer, deviation):
    model = make_retinanet(initializer)
    found = deviations(model, TOWERS)
    np.testing.assert_allclose(found, deviation, rtol=0.02)
    np.testing.assert_allclose(deviations(model, OUTPUTS), 0.01, rtol=0.03)
    bias = model.get_layer("classification_output").bias
    np.testing.assert_allclose(bias, -np.log(99), rtol=1e-6)


@pytest.mark.parametrize(
    "initializer",
    [None, "he_normal", keras.initializers.RandomNormal(0.0, 0.2, seed=4)],
)
def test_the_initializer_is_saved(initializer, tmp_path):
    model = make_retinanet(initializer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    fresh = RetinaNet.from_config(loaded.get_config())
    np.testing.assert_allclose(
        deviations(fresh, TOWERS), deviations(model, TOWERS), rtol=0.02
    )


def test_a_seed_gives_the_same_towers():
    initializer = keras.initializers.HeNormal(seed=3)
    first, second = (make_retinanet(initializer) for _ in range(2))
    for layer in TOWERS:
        np.testing.assert_array_equal(
            *(model.get_layer(layer).kernel for model in (first, second))
        )


def test_an_unknown_initializer_is_refused():
    with pytest.raises(ValueError, match="he_abnormal"):
        make_retinanet("he_abnormal")


def test_the_mask_head_starts_as_its_original():
    """PyTorch's `kaiming_normal_` with `fan_out`, which is not truncated."""
    head = MaskRCNN(make_backbone(), 80).mask_head
    for name in ("mask_conv1", "mask_conv4", "mask_upsample", "mask_logits"):
        kernel = keras.ops.convert_to_numpy(head.get_layer(name).kernel)
        height, width = kernel.shape[:2]
        outputs = 80 if name == "mask_logits" else 256
        deviation = (2 / (height * width * outputs)) ** 0.5
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)
        assert abs(kernel).max() > 3 * deviation
