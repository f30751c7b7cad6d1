"""What a path to a data set stands for."""

import types

import pytest

from keras_epsanet.data.imagenet import source as source_module
from keras_epsanet.data.imagenet.source import Source, open_source


def write_tree(folder):
    for name in ("train/a/1", "train/b/2", "train/b/3", "val/a/4", "val/b/5"):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "train/a/notes.txt").touch()
    return folder


@pytest.mark.parametrize(
    "path, data_dir",
    [
        ("tfds", None),
        ("tfds:", None),
        ("tfds:my/folder", "my/folder"),
        ("tfds:C:/folder", "C:/folder"),
    ],
)
def test_tfds_is_told_by_what_stands_before_the_colon(
    path, data_dir, monkeypatch
):
    monkeypatch.setattr(source_module, "_open_tfds", lambda *x: x)
    assert open_source(path) == (data_dir,)


@pytest.mark.parametrize("name", ["tfds_images", "my:tfds", "tfdsx:a"])
def test_a_folder_may_have_a_name_like_tfds(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / name)
    source = open_source(name)
    assert (source.num_train, source.num_val) == (3, 2)


def test_a_tree_has_its_splits_and_what_is_left_out(tmp_path):
    source = open_source(write_tree(tmp_path))
    assert source.class_names == ["a", "b"]
    assert source.train.labels.tolist() == [0, 1, 1]
    assert [x[-5:] for x in source.val.files] == ["4.jpg", "5.jpg"]
    assert source.left_out == {".txt": 1}


def test_shards_have_their_splits_lengths_and_blocks(tmp_path, monkeypatch):
    files = {split: [tmp_path / split] for split in ("train", "val")}
    lengths, blocks = {"train": [3], "val": [2]}, {"train": None, "val": [[7]]}
    found = ["a", "b"], files, lengths, blocks
    splits = source_module.splits
    monkeypatch.setattr(splits, "find_index", lambda path: "an index")
    monkeypatch.setattr(splits, "list_shards", lambda path, index: found)
    source = open_source(tmp_path)
    assert source.class_names == ["a", "b"] and source.left_out == {}
    assert (source.num_train, source.num_val) == (3, 2)
    for part, split in ((source.train, "train"), (source.val, "val")):
        assert part.files == [str(tmp_path / split)]
        assert part._given == [blocks[split] and [7]]
        assert (part._image, part._label) == splits.FEATURES


def test_bad_files_are_those_of_both_splits():
    train, val = (
        types.SimpleNamespace(
            num_images=n, bad=types.SimpleNamespace(names=names)
        )
        for n, names in ((3, ["1.jpg"]), (2, ["2.jpg", "3.jpg"]))
    )
    source = Source(["a"], train, val)
    assert source.bad == ["1.jpg", "2.jpg", "3.jpg"]
    assert (source.num_train, source.num_val, source.left_out) == (3, 2, {})


class Builder:
    """Stands for that of TensorFlow Datasets."""

    data_dir = "somewhere"
    file_format = "tfrecord"
    prepared = False

    def __init__(self, name, data_dir):
        self.arguments = name, data_dir

    def download_and_prepare(self):
        self.prepared = True

    @property
    def info(self):
        assert self.prepared
        splits = {
            name: types.SimpleNamespace(
                filepaths=[f"{name}.tfrecord"], shard_lengths=[length]
            )
            for name, length in (("train", 5), ("validation", 4), ("test", 3))
        }
        label = types.SimpleNamespace(names=("n1", "n2"))
        return types.SimpleNamespace(
            splits=splits,
            features={"label": label},
            file_format=types.SimpleNamespace(value=self.file_format),
        )


@pytest.fixture
def builders(monkeypatch):
    """The builders that are asked for."""
    made = []

    def make(*arguments, **options):
        made.append(Builder(*arguments, **options))
        return made[-1]

    module = types.SimpleNamespace(builder=make)
    monkeypatch.setattr(source_module, "import_tfds", lambda: module)
    return made


def test_tensorflow_datasets_gives_records_of_two_splits(builders):
    source = open_source("tfds:folder")
    assert builders[0].arguments == ("imagenet2012", "folder")
    assert source.class_names == ["n1", "n2"]
    assert (source.num_train, source.num_val) == (5, 4)
    for part, name in ((source.train, "train"), (source.val, "validation")):
        assert part.files == [f"{name}.tfrecord"]
        assert (part._image, part._label) == ("image", "label")


def test_other_files_of_tensorflow_datasets_are_refused(builders, monkeypatch):
    monkeypatch.setattr(Builder, "file_format", "riegeli")
    with pytest.raises(ValueError, match="Received: riegeli in somewhere"):
        open_source("tfds")


def test_archives_that_are_missing_are_named(builders, monkeypatch):
    def fail(self):
        raise AssertionError("Put the archive here")

    monkeypatch.setattr(Builder, "download_and_prepare", fail)
    with pytest.raises(ValueError, match="archive here\nReceived: .*=None"):
        open_source("tfds")


def test_a_storage_is_read_as_a_folder(tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = f"ram://test_source/{tmp_path.name}"
    tree = write_tree(tmp_path)
    for file in tree.rglob("*.*"):
        target = f"{path}/{file.relative_to(tree)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(file), target)
    source = open_source(path)
    assert source.class_names == ["a", "b"]
    assert source.train.labels.tolist() == [0, 1, 1]
    assert source.val.files == [f"{path}/val/{x}.jpg" for x in ("a/4", "b/5")]
    assert source.left_out == {".txt": 1}
    assert source.val.read(0) == (b"", 0)


@pytest.mark.parametrize("path", ["ftp://host/images", "https://host/images"])
def test_other_storages_are_refused(path):
    with pytest.raises(ValueError, match=f"gs://, s3:.* Received: {path[:5]}"):
        open_source(path)
