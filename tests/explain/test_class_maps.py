"""Grad-CAM: the numbers of another package, and pixels that must be found."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet import explain
from keras_epsanet.explain.class_maps import NAMES
from keras_epsanet.explain.model_inputs import run

ARGUMENTS = ((1, 1, 1, 1), (64, 128, 256, 512), (3, 5, 7, 9), (1, 4, 8, 16))
LAYERS = ("conv2_block1_out", "conv4_block1_out", "conv5_block1_out")
GRADIENTS = [name for name in NAMES if name != "scorecam"]
IS_JAX = keras.backend.backend() == "jax"
ATOL = 1e-4  # As close to the other package as was asked for.


@pytest.fixture
def golden_network(golden_state_dict):
    """Function that makes the network of the golden maps."""

    def make(**kwargs):
        arguments = {"input_shape": (None, None, 3), "classes": 10, **kwargs}
        model = keras_epsanet.EPSANet(*ARGUMENTS, **arguments)
        state = {
            key: value[:10] if key.startswith("fc.") else value
            for key, value in golden_state_dict("epsanet50_small").items()
            if ".0." in key or not key.startswith("layer")
        }
        keras_epsanet.load_torch_weights(model, state)
        return model

    return make


@pytest.mark.parametrize("layer", LAYERS)
def test_golden_maps(golden, golden_network, layer):
    reference, model = golden("grad_cam"), golden_network()
    x, classes = reference["x"], reference["classes"]
    for method in GRADIENTS:
        maps = explain.grad_cam(model, x, layer, classes, method)
        expected = reference[f"{layer}/{method}"]
        assert expected.max(axis=(1, 2)).min() > 0.99
        np.testing.assert_allclose(maps, expected, 0, ATOL, err_msg=method)


@pytest.mark.large
@pytest.mark.skipif(IS_JAX, reason="runs 256 images one operation at a time")
def test_golden_maps_of_score_cam(golden, golden_network):
    reference, model = golden("grad_cam"), golden_network()
    x, classes = reference["x"][:1], reference["classes"][:1]
    maps = explain.grad_cam(model, x, LAYERS[0], classes, "scorecam")
    expected = reference[f"{LAYERS[0]}/scorecam"]
    np.testing.assert_allclose(maps, expected, 0, ATOL)


@pytest.mark.skipif(IS_JAX, reason="runs every operation alone")
def test_golden_maps_with_channels_first(golden, golden_network):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves channels last on a CPU")
    reference = golden("grad_cam")
    x = reference["x"].transpose(0, 3, 1, 2)
    model = golden_network(
        data_format="channels_first", input_shape=(3, None, None)
    )
    maps = explain.grad_cam(model, x, LAYERS[1], reference["classes"])
    np.testing.assert_allclose(maps, reference[f"{LAYERS[1]}/gradcam"], 0, ATOL)


def test_golden_maps_of_a_fused_model(golden, golden_network):
    """It has no BatchNorm; the outputs of its blocks are the same."""
    reference = golden("grad_cam")
    model = keras_epsanet.fuse(golden_network())
    maps = explain.grad_cam(
        model, reference["x"], LAYERS[2], reference["classes"]
    )
    np.testing.assert_allclose(maps, reference[f"{LAYERS[2]}/gradcam"], 0, ATOL)


def test_golden_maps_of_a_network_in_a_model(golden, golden_network):
    reference = golden("grad_cam")
    inner = golden_network()
    image = keras.Input((None, None, 3))
    # What it holds to normalize with: images that are twice as large.
    x = keras.layers.Rescaling(0.5)(image)
    model = keras.Model(image, inner(x))
    images, classes = 2 * reference["x"], reference["classes"]
    for name in (LAYERS[2], f"{inner.name}/{LAYERS[2]}", None):
        maps = explain.grad_cam(model, images, name, classes)
        np.testing.assert_allclose(
            maps, reference[f"{LAYERS[2]}/gradcam"], 0, ATOL
        )


@pytest.mark.parametrize("method", NAMES)
def test_the_pixels_of_a_color_speak_for_it(colors, squares, method):
    images, is_square = squares
    maps = explain.grad_cam(colors(), images, "relu", "red", method)
    assert maps.shape == images.shape[:3] and maps.dtype == "float32"
    assert maps.min() == 0 and maps.max() <= 1
    for heat, inside in zip(maps, is_square):
        assert inside.flat[heat.argmax()]
        # A pixel of the layer is four of the image, so the border is soft.
        assert heat[inside].mean() > 0.75
        assert heat[~inside].mean() < 0.15


@pytest.mark.parametrize("method", GRADIENTS)
def test_another_class_has_another_map(colors, squares, method):
    images, is_square = squares
    model = colors()
    red, green = (
        explain.grad_cam(model, images, "colors", name, method)
        for name in ("red", "green")
    )
    assert (red[is_square].mean() > 0.75) and green[is_square].mean() < 0.2
    both = explain.grad_cam(model, images, "colors", [2, "green", 2, 1], method)
    np.testing.assert_allclose(both[::2], red[::2], atol=1e-6)
    np.testing.assert_allclose(both[1::2], green[1::2], atol=1e-6)


def test_without_a_class_the_first_is_explained(colors, squares):
    images, model = squares[0], colors()
    best = run(model, images).argmax(axis=-1)
    assert len(set(best)) == 1
    images[0] = (0, 0, 1)
    best[0] = 0
    for method in ("gradcam", "scorecam"):
        np.testing.assert_array_equal(
            explain.grad_cam(model, images, method=method),
            explain.grad_cam(model, images, classes=best, method=method),
        )


def test_the_share_of_a_class_is_not_what_is_explained(colors):
    """For the share of red rises where green falls."""
    model = colors()
    blocks = np.random.default_rng(0).uniform(size=(2, 8, 8, 3))
    images = blocks.repeat(4, axis=1).repeat(4, axis=2)
    # The logits of the same weights, without a softmax.
    logits = keras.layers.Rescaling(3.0)(model.get_layer("mean").output)
    bare = keras.Model(model.input, logits)
    maps = explain.grad_cam(model, images, "pool", "red")
    expected = explain.grad_cam(bare, images, "pool", 2)
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_batches_of_any_size_give_the_same(colors, squares):
    images, model = squares[0], colors()
    whole = explain.grad_cam(model, images, classes="red")
    parts = explain.grad_cam(model, images, classes="red", batch_size=3)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_maps_have_the_size_of_the_images(colors):
    model = colors()
    for size in ((32, 48), (20, 12), (37, 29)):
        maps = explain.grad_cam(model, np.ones((1, *size, 3)), classes=0)
        assert maps.shape == (1, *size)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_finds_the_same(colors, squares, dtype):
    images = squares[0]
    expected = explain.grad_cam(colors(), images, "relu", "red")
    maps = explain.grad_cam(colors(dtype=dtype), images, "relu", "red")
    np.testing.assert_allclose(maps, expected, atol=0.02)


def test_small_gradients_survive_half_precision():
    """Of 6e-8 and 2e-8, which float16 rounds to 6e-8 and to 0."""
    image = keras.Input((32, 32, 2))
    x = keras.layers.Activation("linear", dtype="float16", name="x")(image)
    x = keras.layers.GlobalAveragePooling2D(dtype="float16")(x)
    dense = keras.layers.Dense(1, use_bias=False, dtype="float16")
    model = keras.Model(image, dense(x))
    dense.kernel.assign([[6e-5], [2e-5]])
    images = np.random.default_rng(0).uniform(size=(1, 32, 32, 2))
    maps = explain.grad_cam(model, images, "x", 0)
    summed = images @ [3, 1]
    low, high = summed.min(), summed.max()
    np.testing.assert_allclose(maps, (summed - low) / (high - low), atol=0.01)


def test_nothing_of_the_model_changes(colors, squares):
    images, model = squares[0], colors()
    weights, outputs = model.get_weights(), run(model, images)
    own = [set(vars(layer)) for layer in model.layers]
    for method in NAMES:
        explain.grad_cam(model, images, method=method)
    with pytest.raises(ValueError):
        explain.grad_cam(model, images, "none")
    np.testing.assert_array_equal(run(model, images), outputs)
    assert [set(vars(layer)) for layer in model.layers] == own
    assert model.get_layer("classes").activation is keras.activations.softmax
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_random_weights_give_another_map(golden, golden_network):
    """Adebayo et al., 2018: a map that does not change explains nothing."""
    reference, model = golden("grad_cam"), golden_network()
    x, classes = reference["x"], reference["classes"]
    before = explain.grad_cam(model, x, LAYERS[0], classes)
    random = np.random.default_rng(1)
    # From the classifier down, as in the paper.
    for name in ("predictions", "conv5_block1_psa"):
        for weight in model.get_layer(name).weights:
            values = random.permutation(
                keras.ops.convert_to_numpy(weight).ravel()
            )
            weight.assign(values.reshape(weight.shape))
        after = explain.grad_cam(model, x, LAYERS[0], classes)
        for one, other in zip(before, after):
            assert other.max() > 0.99
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


PROCESS = """
import sys
sys.modules["matplotlib"] = None  # As if it were not installed.
import keras, numpy as np
from keras_epsanet import explain
folder, layer, name = sys.argv[1:]
model = keras.saving.load_model(f"{folder}/model.keras", compile=False)
images = np.load(f"{folder}/images.npy")
np.savez(
    f"{folder}/found.npz",
    maps=explain.grad_cam(model, images, layer, classes=name or None),
    scales=explain.attention(model, images).layers[0].scales,
)
"""
KINDS = ["plain"]
if keras.backend.backend() == "torch":
    KINDS.append("channels_first")


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_is_explained_in_a_fresh_process(
    with_scales, tmp_path, kind
):
    model = with_scales()  # Of images of any size, and with preprocessing.
    images = np.random.default_rng(0).uniform(0, 255, (2, 24, 36, 3))
    expected = explain.grad_cam(model, images, "conv", classes="bee")
    scales = explain.attention(model, images).layers[0].scales
    assert expected.std() > 0.01
    if kind == "channels_first":
        weights = model.get_weights()
        model = with_scales(data_format="channels_first")
        model.set_weights(weights)
        images = np.moveaxis(images, -1, 1)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    explain_in_a_fresh_process(tmp_path, "conv", "bee", expected, scales)


def explain_in_a_fresh_process(folder, layer, name, expected, scales):
    command = [sys.executable, "-c", PROCESS, folder, layer, name]
    subprocess.run(command, check=True)
    found = np.load(folder / "found.npz")
    np.testing.assert_allclose(found["maps"], expected, atol=1e-5)
    np.testing.assert_allclose(found["scales"], scales, atol=1e-5)


def test_a_fused_model_is_explained_in_a_fresh_process(
    golden, golden_network, tmp_path
):
    model, images = golden_network(), golden("grad_cam")["x"]
    fused = keras_epsanet.fuse(model)
    norms = keras.layers.BatchNormalization
    assert not any(isinstance(layer, norms) for layer in fused.layers)
    fused.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    expected = explain.grad_cam(model, images, LAYERS[0])
    scales = explain.attention(model, images).layers[0].scales
    explain_in_a_fresh_process(tmp_path, LAYERS[0], "", expected, scales)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"layer": "colour"}, r"no layer 'colour' \(did you mean colors\?\)"),
        ({"layer": "zzz"}, r"'zzz'. Layers .*: pool, colors, relu\."),
        ({"layer": "mean"}, r"mean has no spatial output.*\(None, 3\)"),
        ({"classes": 3}, "0 to 2, or any of blue, green, red.*classes=3"),
        ({"classes": "pink"}, "Received: classes='pink'"),
        ({"classes": [0, 1]}, "each of the 4 images"),
        ({"classes": 1.5}, "Received: classes=1.5"),
        ({"classes": True}, "Received: classes=True"),
        ({"method": "cam"}, "gradcam.*scorecam. Received: method='cam'"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_bad_arguments_are_refused_before_work_starts(
    colors, squares, monkeypatch, arguments, message
):
    model = colors()

    def work(*args, **kwargs):
        raise AssertionError("work has started")

    monkeypatch.setattr(type(model), "__call__", work)
    with pytest.raises(ValueError, match=message):
        explain.grad_cam(model, squares[0], **arguments)


@pytest.mark.parametrize("shape", [(32, 32, 3), (1, 32, 32, 4), (0, 32, 32, 3)])
def test_images_of_another_shape_are_refused(colors, shape):
    with pytest.raises(ValueError, match=r"the shape \(None, None, None, 3\)"):
        explain.grad_cam(colors(), np.zeros(shape))


def test_a_model_without_classes_is_refused():
    model = keras_epsanet.EPSANetBackbone(
        (1, 1), (16, 16), (3, 5), (1, 4), reduction=4
    )
    with pytest.raises(ValueError, match="score for each class"):
        explain.grad_cam(model, np.zeros((1, 32, 32, 3)))


def test_a_layer_that_is_called_twice_is_refused():
    image = keras.Input((8, 8, 3))
    layer = keras.layers.Conv2D(3, 1, name="twice")
    x = keras.layers.GlobalMaxPooling2D()(layer(layer(image)))
    model = keras.Model(image, x)
    with pytest.raises(ValueError, match="twice is called 2 times"):
        explain.grad_cam(model, np.ones((1, 8, 8, 3)), "twice")
