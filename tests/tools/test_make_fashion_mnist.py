import gzip
import importlib.util
import pathlib
import sys

import numpy as np
import pytest

COUNTS = {"train": 2, "test": 1}
FILE = pathlib.Path(__file__).parents[2] / "tools" / "make_fashion_mnist.py"
SPEC = importlib.util.spec_from_file_location("make_fashion_mnist", FILE)
module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(module)
make_fashion_mnist = module.make_fashion_mnist


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


@pytest.mark.parametrize("count, fits", [(4, True), (5, False)])
def test_all_images_of_a_class_can_be_taken(source, count, fits):
    arguments = source, source / "s.npz", {"train": count}
    if fits:
        make_fashion_mnist(*arguments)
        assert len(np.load(source / "s.npz")["train_images"]) == 40
    else:
        with pytest.raises(ValueError, match="at least 5"):
            make_fashion_mnist(*arguments)


def test_as_many_images_as_labels_are_needed(source):
    path = source / "train-labels-idx1-ubyte.gz"
    write_idx(path, np.zeros(39, "uint8"))
    with pytest.raises(ValueError, match="Received: 40 images, 39 labels"):
        make_fashion_mnist(source, source / "s.npz", COUNTS)


@pytest.mark.parametrize("place", range(4))
def test_the_header_is_that_of_bytes_of_three_dimensions(source, place):
    path = source / "train-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[place] += 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ValueError, match="3 dimensions"):
        make_fashion_mnist(source, source / "s.npz", COUNTS)


def test_a_file_that_cannot_be_written_leaves_nothing(source, monkeypatch):
    def fail(path, **arrays):
        open(path, "w").close()
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError):
        make_fashion_mnist(source, source / "s.npz", COUNTS)
    assert not list(source.glob("*npz*"))


def test_the_command_writes_the_file_of_the_package(
    source, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["make", str(source)])
    monkeypatch.setattr(module, "FILE", str(source / "s.npz"))
    with pytest.raises(SystemExit, match="^make_fashion_mnist: .*1000 imag"):
        module.main()
    monkeypatch.setitem(module.IMAGES_PER_CLASS, "train", 2)
    monkeypatch.setitem(module.IMAGES_PER_CLASS, "test", 1)
    module.main()
    size = (source / "s.npz").stat().st_size
    assert f"s.npz: {size:,} bytes" in capsys.readouterr().out
    assert len(np.load(source / "s.npz")["test_labels"]) == 10
