import gzip

import numpy as np
import pytest

from keras_epsanet.data.make_fashion_mnist import make_fashion_mnist

COUNTS = {"train": 2, "test": 1}


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim))
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + sizes + array.tobytes()))


@pytest.fixture
def source(tmp_path):
    """A folder like the original one, with 4 or 3 images of each class."""
    random = np.random.default_rng(0)
    for prefix, each in (("train", 4), ("t10k", 3)):
        labels = random.permutation(np.repeat(np.arange(10, dtype="u1"), each))
        images = random.integers(0, 256, (len(labels), 28, 28), "uint8")
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def read_original(source, prefix):
    images, labels = (
        gzip.decompress((source / f"{prefix}-{kind}-ubyte.gz").read_bytes())
        for kind in ("images-idx3", "labels-idx1")
    )
    images = np.frombuffer(images[16:], "uint8").reshape(-1, 28, 28, 1)
    return images, np.frombuffer(labels[8:], "uint8")


@pytest.mark.parametrize(
    "split, prefix", [("train", "train"), ("test", "t10k")]
)
def test_first_images_of_every_class_in_order(source, split, prefix):
    make_fashion_mnist(source, source / "small.npz", COUNTS)
    arrays = np.load(source / "small.npz")
    images, labels = read_original(source, prefix)
    seen, expected = np.zeros(10, int), []
    for i, label in enumerate(labels):
        if seen[label] < COUNTS[split]:
            expected.append(i)
        seen[label] += 1
    np.testing.assert_array_equal(arrays[f"{split}_images"], images[expected])
    np.testing.assert_array_equal(arrays[f"{split}_labels"], labels[expected])


def test_same_files_make_the_same_bytes(source):
    paths = source / "a.npz", source / "b.npz"
    for path in paths:
        make_fashion_mnist(source, path, COUNTS)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def damage(path):
    path.write_bytes(path.read_bytes()[:-100])


def swap(path):
    write_idx(path, np.zeros(40, "uint8"))


def shorten(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(content[:-1]))


def remove(path):
    path.unlink()


@pytest.mark.parametrize("change", [damage, swap, shorten, remove])
def test_unusable_source_is_named_and_the_old_file_kept(source, change):
    target = source / "small.npz"
    target.write_text("old")
    change(source / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.gz"):
        make_fashion_mnist(source, target, COUNTS)
    assert target.read_text() == "old"
    assert len(list(source.glob("*npz*"))) == 1


def test_too_few_images_are_refused(source):
    with pytest.raises(ValueError, match="5 images of T-shirt/top.*: 4"):
        make_fashion_mnist(source, source / "s.npz", {"train": 5, "test": 1})
