import io
import json
import os
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data import exif, imagenet, tfrecords
from keras_epsanet.data.image_sources import Slots
from keras_epsanet.data.tfrecords import convert

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

OPTIONS = {"train_shards": 2, "val_shards": 1, "workers": 1}


def encode(value, kind="JPEG", orientation=None):
    note = PIL.Image.Exif()
    if orientation:
        note[0x0112] = orientation
    file = io.BytesIO()
    image = PIL.Image.new("RGB", (24, 16), (value, 0, 255 - value))
    image.save(file, kind, exif=note.tobytes())
    return file.getvalue()


@pytest.fixture
def tree(tmp_path):
    """Six images to train with, two others."""
    for name in ("train/a", "train/b", "val/a", "val/b"):
        count = 3 if name.startswith("train") else 1
        folder = tmp_path / "tree" / name
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.jpg").write_bytes(encode(40 * i))
    return tmp_path / "tree"


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "output")


def contents_of_file(output, name):
    with open(os.path.join(output, name), "rb") as file:
        return file.read()


def contents_of(output):
    return {
        name: open(os.path.join(output, name), "rb").read()
        for name in os.listdir(output)
    }


def test_images_of_folders_in_a_class_are_converted(tree, output):
    (tree / "train/a/more").mkdir()
    (tree / "train/a/more/9.webp").write_bytes(encode(90, "WEBP"))
    (tree / "val/b/notes.txt").touch()
    index = convert(tree, output, **OPTIONS)
    assert sum(index["train"]) == 7
    assert index["train_encoded_anew"] == ["train/a/more/9.webp"]
    assert index["left_out"] == {".txt": 1}


def test_the_index_says_where_the_records_are(tree, output):
    index = convert(tree, output, **OPTIONS)
    with open(os.path.join(output, "dataset.json")) as file:
        assert json.load(file) == index
    given = imagenet.open_source(output).train
    scanned = imagenet.open_source(output).train
    scanned._given = [None] * len(scanned.files)
    for array, array2 in zip(given._blocks, scanned._blocks, strict=True):
        np.testing.assert_array_equal(array, array2)
    assert given._blocks[2].sum() == 6


@pytest.mark.parametrize("bad", [3, 4])
def test_more_than_three_bad_images_of_a_few_are_refused(tree, output, bad):
    for i in range(bad):
        (tree / f"train/a/bad{i}.jpg").write_bytes(b"no image")
    if bad == 3:
        index = convert(tree, output, **OPTIONS)
        assert index["train_bad"] == [f"train/a/bad{i}.jpg" for i in range(3)]
        assert sum(index["train"]) == 6
    else:
        with pytest.raises(ValueError, match="More than 1 % .* 4 of 10"):
            convert(tree, output, **OPTIONS)
        assert not os.path.exists(os.path.join(output, "dataset.json"))


def test_unchanged_images_give_the_same_again(tree, output):
    index = convert(tree, output, **OPTIONS)
    before = contents_of(output)
    assert convert(tree, output, **OPTIONS) == index
    assert contents_of(output) == before


@pytest.mark.parametrize("change", ["size", "time", "name", "quality"])
@pytest.mark.parametrize("finished", [True, False])
def test_changed_images_are_noticed(tree, output, change, finished):
    index = convert(tree, output, **OPTIONS)
    if not finished:
        # As an interrupted run leaves it.
        os.makedirs(os.path.join(output, "unfinished"))
        with open(os.path.join(output, "unfinished/plan.json"), "w") as file:
            json.dump(index["plan"], file)
        os.remove(os.path.join(output, "dataset.json"))
    options, path = dict(OPTIONS), tree / "train/a/1.jpg"
    status = path.stat()
    if change == "size":
        path.write_bytes(encode(41) + b"\0")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        os.utime(path, (status.st_atime, status.st_mtime + 2))
    elif change == "name":
        path.rename(tree / "train/a/8.jpg")
    else:
        options["quality"] = 50
    with pytest.raises(ValueError, match="same images, by name, size and"):
        convert(tree, output, **options)


def test_images_that_change_meanwhile_are_noticed(tree, output, monkeypatch):
    write_shards = tfrecords.write_shards

    def change(*args):
        results = write_shards(*args)
        (tree / "train/a/1.jpg").write_bytes(encode(41) + b"\0")
        return results

    monkeypatch.setattr(tfrecords, "write_shards", change)
    with pytest.raises(ValueError, match="must not change while"):
        convert(tree, output, **OPTIONS)
    assert not os.path.exists(os.path.join(output, "dataset.json"))


def test_another_programs_index_is_not_overwritten(tree, output):
    os.makedirs(output)
    path = os.path.join(output, "dataset.json")
    with open(path, "w") as file:
        file.write('{"name": "another"}')
    with pytest.raises(ValueError, match="another program's dataset.json"):
        convert(tree, output, **OPTIONS)
    assert open(path).read() == '{"name": "another"}'


def test_a_tree_with_another_programs_index_is_read(tree):
    (tree / "dataset.json").write_text('{"name": "another"}')
    assert imagenet.open_source(tree).num_train == 6


def test_records_are_upright_when_they_are_read(tree, output):
    (tree / "val/a/0.jpg").write_bytes(encode(99, "JPEG", 6))
    (tree / "val/b/0.jpg").write_bytes(encode(99, "PNG", 6))
    index = convert(tree, output, **OPTIONS)
    assert index["val_encoded_anew"] == ["val/b/0.jpg"]
    source = imagenet.open_source(output)
    notes = [exif.orientation(source.val.read(i)[0]) for i in range(2)]
    assert sorted(notes) == [1, 6]


def test_names_need_not_be_text(tree, tmp_path):
    root = os.fsencode(tree)
    for split in (b"train", b"val"):
        folder = os.path.join(root, split, b"\xfc")
        os.rename(os.path.join(root, split, b"b"), folder)
        os.rename(folder + b"/0.jpg", folder + b"/\xfc.jpg")
    with open(os.path.join(root, b"train/\xfc/bad\xfc.jpg"), "w") as file:
        file.write("no image")
    output = os.path.join(tmp_path, "\udcfc")
    index = convert(str(tree), output, **OPTIONS)
    assert index["class_names"] == [r"\xfc", "a"]
    assert index["train_bad"] == [r"train/\xfc/bad\xfc.jpg"]
    source = imagenet.open_source(output)
    assert (source.num_train, source.num_val) == (6, 2)
    assert len(list(source.val.chunks(Slots(1, 2, 0, 2, (0, 1))))) == 2


def test_command_prints_what_was_used(tree, output, monkeypatch, capsys):
    (tree / "val/b/notes.txt").touch()
    arguments = ["tfrecords", str(tree), output, "--workers", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    tfrecords.main()
    out = capsys.readouterr().out
    assert "train: 6 images in 6 shards, 0 encoded anew, 0 bad\n" in out
    assert "left out: 1 files (.txt)\n" in out


def test_a_shard_that_is_missing_is_noticed_when_all_is_done(tree, output):
    convert(tree, output, **OPTIONS)
    os.remove(os.path.join(output, "train-00001-of-00002.tfrecord"))
    with pytest.raises(ValueError, match="train-00001-of-00002"):
        convert(tree, output, **OPTIONS)


@pytest.mark.parametrize(
    "option",
    [
        {"train_shards": 0},
        {"val_shards": -1},
        {"quality": 0},
        {"quality": 101},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(tree, output, option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}={value}"):
        convert(tree, output, **{**OPTIONS, **option})
    assert not os.path.exists(output)


def test_a_shard_that_is_gone_meanwhile_is_written_anew(
    tree, output, monkeypatch
):
    def stop(*arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tfrecords, "check_share", stop)
        with pytest.raises(OSError):
            convert(tree, output, **OPTIONS)
    name = "train-00001-of-00002.tfrecord"
    before = contents_of_file(output, name)
    os.remove(os.path.join(output, name))
    convert(tree, output, **OPTIONS)
    assert contents_of_file(output, name) == before
