import keras
import pytest

from keras_epsanet.classification.imagenet import smoke
from keras_epsanet.data import imagenet

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are encoded by TensorFlow", allow_module_level=True)


def test_images_of_a_smoke_run_are_written_once(tmp_path):
    path = tmp_path / "images"
    for _ in range(2):  # The second time another one was sooner.
        smoke.write_images(str(path), train=30, val=20)
        assert list(tmp_path.iterdir()) == [path]
        source = imagenet.open_source(str(path))
        assert (source.num_train, source.num_val) == (30, 20)
    assert len(source.class_names) == 10


def test_images_that_cannot_be_written_are_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        smoke.write_images(str(tmp_path / "file/images"), train=1, val=1)


def test_images_to_evaluate_are_others(tmp_path):
    import numpy as np

    from keras_epsanet import data

    smoke.write_images(str(tmp_path / "images"), train=1, val=1)
    for folder, split in (("train", "train"), ("val", "test")):
        (path,) = (tmp_path / "images" / folder).rglob("0.JPEG")
        found = keras.utils.img_to_array(keras.utils.load_img(path))
        image, _ = next(data.fashion_mnist(split).as_numpy_iterator())
        assert np.abs(found - image).mean() < 10
