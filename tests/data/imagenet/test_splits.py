import json

import pytest

from keras_epsanet.data.imagenet import splits

INDEX = {"class_names": ["a", "b"], "plan": "0", "train": [2, 1], "val": [1]}


def write(folder, index):
    (folder / "dataset.json").write_text(json.dumps(index))


def write_shards(folder, size=20):
    for name in ("train-00000-of-00002", "train-00001-of-00002"):
        (folder / f"{name}.tfrecord").write_bytes(bytes(size))
    (folder / "val-00000-of-00001.tfrecord").write_bytes(bytes(size))


def test_an_index_is_found(tmp_path):
    write(tmp_path, INDEX)
    assert splits.find_index(tmp_path) == INDEX


@pytest.mark.parametrize(
    "index",
    [
        [1, 2],
        "text",
        {"name": "another program's"},
        INDEX | {"plan": None},
        INDEX | {"class_names": "ab"},
        INDEX | {"class_names": [1, 2]},
        INDEX | {"train": 3},
        INDEX | {"train": []},
        INDEX | {"val": ["1"]},
        {key: INDEX[key] for key in ("class_names", "plan", "train")},
    ],
)
def test_other_files_of_the_name_are_none(tmp_path, index):
    write(tmp_path, index)
    assert splits.find_index(tmp_path) is None


@pytest.mark.parametrize("contents", [b"", b"{", b"\xff\xfe"])
def test_a_file_that_is_no_json_is_none(tmp_path, contents):
    (tmp_path / "dataset.json").write_bytes(contents)
    assert splits.find_index(tmp_path) is None


def test_a_missing_file_or_folder_is_none(tmp_path):
    assert splits.find_index(tmp_path) is None
    assert splits.find_index(tmp_path / "nothing") is None
    write(tmp_path, INDEX)
    assert splits.find_index(tmp_path / "dataset.json") is None


@pytest.mark.parametrize("blocks", [[[1, 8], [1, 12]], None])
def test_shards_are_listed(tmp_path, blocks):
    index = dict(INDEX)
    if blocks:
        index |= {"train_blocks": [blocks] * 2, "val_blocks": [[[1, 20]]]}
    write_shards(tmp_path)
    names, files, lengths, found = splits.list_shards(tmp_path, index)
    assert names == ["a", "b"]
    assert len(files["train"]) == 2 and len(files["val"]) == 1
    assert lengths == {"train": [2, 1], "val": [1]}
    assert found["train"] == (blocks and [blocks] * 2)


def test_a_missing_shard_is_named(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "train-00001-of-00002.tfrecord").unlink()
    with pytest.raises(ValueError, match="train-00001-.* is missing"):
        splits.list_shards(tmp_path, INDEX)


def test_a_shard_of_another_size_is_named(tmp_path):
    write_shards(tmp_path, 19)
    index = INDEX | {"train_blocks": None, "val_blocks": [[[1, 20]]]}
    with pytest.raises(ValueError, match="val-00000-.* of 19 bytes"):
        splits.list_shards(tmp_path, index)


def test_what_is_left_out_of_both_splits_is_counted(tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.jpg").touch()
    (tmp_path / "val/b/notes.txt").touch()
    (tmp_path / "train/b/notes.txt").touch()
    class_names, files, left_out = splits.list_tree(tmp_path)
    assert class_names == ["a", "b"] and len(files["train"]) == 2
    assert left_out == {".txt": 2}


def test_a_foreign_index_alone_is_named(tmp_path):
    write(tmp_path, {"name": "another program's"})
    with pytest.raises(ValueError, match="dataset.json is of another kind$"):
        splits.list_tree(tmp_path)


@pytest.fixture
def tree(tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.jpg").touch()
    (tmp_path / "train/b/2.jpg").touch()
    return tmp_path


def test_files_have_the_number_of_their_class(tree):
    _, files, _ = splits.list_tree(tree)
    assert files == {
        "train": [
            (str(tree / "train/a/1.jpg"), 0),
            (str(tree / "train/b/1.jpg"), 1),
            (str(tree / "train/b/2.jpg"), 1),
        ],
        "val": [(str(tree / "val/a/1.jpg"), 0), (str(tree / "val/b/1.jpg"), 1)],
    }


def test_different_classes_are_named(tree):
    (tree / "val/b").rename(tree / "val/c")
    with pytest.raises(ValueError, match=f"path={tree}, in one only: b, c$"):
        splits.list_tree(tree)


@pytest.mark.parametrize("name", ["train", "val"])
def test_both_folders_are_needed(tree, name):
    (tree / name).rename(tree / "other")
    with pytest.raises(ValueError, match=f"Received: path={tree}$"):
        splits.list_tree(tree)
    (tree / "unfinished").mkdir()
    with pytest.raises(ValueError, match="not finished: start it again$"):
        splits.list_tree(tree)


def test_names_of_shards():
    assert splits.shard_name("val", 3, 128) == "val-00003-of-00128.tfrecord"


@pytest.mark.parametrize("converting", [True, False])
def test_a_path_is_refused_by_what_it_is_for(tmp_path, converting):
    (tmp_path / "photos/cats").mkdir(parents=True)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards", INDEX)
    for name, reason in (
        ("photos", ""),
        ("a.jpg", ", which is a file"),
        ("none", ", which does not exist"),
        ("shards", ", which is converted already"),
    ):
        if name == "shards" and not converting:
            continue  # Which is opened.
        path = tmp_path / name
        with pytest.raises(ValueError) as caught:
            splits.list_tree(path, converting)
        text = str(caught.value)
        argument = "source" if converting else "path"
        assert text.endswith(f"Received: {argument}={path}{reason}")
        assert text.startswith(f"`{argument}` must be a folder with the folde")
        assert ("tfds" in text) == (not converting)
        assert ("a folder of images for each class" in text) == converting
