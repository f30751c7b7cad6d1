import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import decode_predictions, preprocess_input
from keras_epsanet.models.imagenet import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_normalises_by_mean_and_standard_deviation(data_format, kind):
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
    with pytest.raises(ValueError, match=r"\(1, 10\)"):
        decode_predictions(np.zeros((1, 10)))
