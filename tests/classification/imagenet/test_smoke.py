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
