import pathlib

import keras
import pytest

import keras_epsanet
from keras_epsanet.classification import evaluation

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)


@pytest.mark.parametrize(
    "folders, expected",
    [
        (("val", "train"), "val"),
        (("test", "train"), "test"),
        (("val", "test", "train"), "val"),
        (("val", "test"), ""),
        (("cat", "dog"), ""),
    ],
)
def test_the_part_for_evaluation_is_taken(
    folders, expected, tmp_path, monkeypatch
):
    for name in folders:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(keras_epsanet.data, "image_folder", str)
    found = evaluation.open_images(str(tmp_path))
    assert pathlib.Path(found) == tmp_path / expected


def test_without_data_the_embedded_images_are_evaluated():
    assert evaluation.open_images().num_images == 2000
