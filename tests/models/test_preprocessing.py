import json

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_epsanet import decode_predictions, preprocess_input
from keras_epsanet.models.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    rescale,
)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_normalizes_by_mean_and_standard_deviation(data_format, kind):
    x = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3))
    x = x.astype("float32")
    expected = (x / 255 - IMAGENET_MEAN) / IMAGENET_STD
    if data_format == "channels_first":
        x, expected = x.transpose(0, 3, 1, 2), expected.transpose(0, 3, 1, 2)
    before = x.copy()
    if kind == "tensor":
        x = ops.convert_to_tensor(x)
    y = preprocess_input(x, data_format)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(x), before)


def test_uint8_images_and_unknown_format():
    white = np.full((4, 4, 3), 255, "uint8")
    for image in (white, ops.convert_to_tensor(white, dtype="uint8")):
        y = ops.convert_to_numpy(preprocess_input(image))
        np.testing.assert_allclose(y[0, 0], [2.2489, 2.4286, 2.64], atol=1e-4)
    with pytest.raises(ValueError, match="data_format=NHWC"):
        preprocess_input(np.zeros((4, 4, 3)), "NHWC")


def test_the_data_format_is_that_of_keras_unless_told():
    x = np.random.default_rng(0).uniform(0, 255, (3, 3, 3))
    before = keras.config.image_data_format()
    try:
        for data_format in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(data_format)
            expected = preprocess_input(x, data_format)
            np.testing.assert_array_equal(preprocess_input(x), expected)
    finally:
        keras.config.set_image_data_format(before)


def test_sizes_may_be_unknown():
    image = keras.Input((None, None, None))
    model = keras.Model(image, preprocess_input(image))
    x = np.random.default_rng(0).uniform(0, 255, (1, 2, 3, 3))
    expected = (x / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x)), expected, atol=1e-5
    )


def test_lists_are_stacked():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), "uint8")
    expected = preprocess_input(images)
    before = images.copy()
    forms = {
        "arrays": list(images),
        "tuple": tuple(images),
        "numbers": images.tolist(),
        "tensors": [ops.convert_to_tensor(image) for image in images],
        "Pillow": [Image.fromarray(image) for image in images],
        "mixed": [Image.fromarray(images[0]), images[1].astype("float32")],
        "nested": [[row for row in image] for image in images],
    }
    for form, x in forms.items():
        y = ops.convert_to_numpy(preprocess_input(x))
        assert y.dtype == "float32", form
        np.testing.assert_allclose(y, expected, atol=1e-6, err_msg=form)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_one_image_of_pillow(data_format):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), "uint8")
    y = preprocess_input(Image.fromarray(image), data_format)
    if data_format == "channels_first":
        y = y.transpose(1, 2, 0)
    expected = preprocess_input(image, "channels_last")
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_layer_normalizes_as_the_function_does(data_format):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3))
    if data_format == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    images = images.astype("float32")
    x = keras.Input(images.shape[1:])
    model = keras.Model(x, rescale(x, data_format, name="some"))
    assert model.layers[-1].name == "some"
    wanted = preprocess_input(images, data_format)
    before = keras.config.image_data_format()
    try:
        # Whatever that of Keras is when the model runs.
        for other in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(other)
            found = ops.convert_to_numpy(model(images))
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    finally:
        keras.config.set_image_data_format(before)
    with pytest.raises(ValueError, match=r"3 channels.*\(None, 8, 8, None\)"):
        rescale(keras.Input((8, 8, None)), "channels_last")


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((4, 4, 1)), r"with 3 channels.*\(4, 4, 1\)"),
        (np.zeros((2, 3, 4, 4)), r"3 channels.*\(2, 3, 4, 4\) \(channels_last"),
        (Image.new("L", (4, 4)), "3 channels"),
        (np.zeros(3), "3 channels"),
        (np.zeros((2, 3)), "3 channels"),
        (np.zeros((1, 2, 4, 4, 3)), "3 channels"),
        ([np.zeros((4, 4, 3)), np.zeros((4, 5, 3))], "one shape"),
        ([[1, 2], [3]], "one shape"),
        ([], "3 channels"),
    ],
)
def test_what_is_no_rgb_image_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        preprocess_input(x)


def test_decode_predictions_names_the_most_probable(monkeypatch, tmp_path):
    # Keras downloads this file: here it already lies on the disk.
    index = {str(i): [f"n{i:08d}", f"class_{i}"] for i in range(1000)}
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "imagenet_class_index.json").write_text(json.dumps(index))
    module = keras.src.applications.imagenet_utils
    monkeypatch.setattr(module, "CLASS_INDEX", None)
    monkeypatch.setattr(
        module.file_utils,
        "get_file",
        lambda name, *args, **kwargs: str(folder / name),
    )
    predictions = np.zeros((1, 1000))
    predictions[0, [7, 3]] = 0.6, 0.4
    assert decode_predictions(predictions, top=2) == [
        [("n00000007", "class_7", 0.6), ("n00000003", "class_3", 0.4)]
    ]
    assert len(decode_predictions(predictions)[0]) == 5
    with pytest.raises(ValueError, match=r"\(1, 10\)"):
        decode_predictions(np.zeros((1, 10)))


@pytest.mark.parametrize(
    "dtype, of_pixels",
    [
        (None, "float32"),
        ("mixed_bfloat16", "float32"),
        ("float16", "float32"),
        ("float64", "float64"),
    ],
)
def test_pixels_are_computed_in_float32_at_least(dtype, of_pixels):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, rescale(image, "channels_last", dtype))
    assert model.layers[-1].compute_dtype == of_pixels
