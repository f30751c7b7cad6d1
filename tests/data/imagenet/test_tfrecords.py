import inspect
import io
import json
import os
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data import exif, imagenet
from keras_epsanet.data.bad_images import as_jpeg
from keras_epsanet.data.imagenet import tfrecords
from keras_epsanet.data.imagenet.file_split import Slots
from keras_epsanet.data.imagenet.tfrecords import convert

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


@pytest.mark.parametrize(
    "change", ["size", "time", "name", "quality", "seed", "train_shards"]
)
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
        options[change] = {"quality": 50, "seed": 1, "train_shards": 3}[change]
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
        {"train_shards": 100_000},
        {"val_shards": 100_000},
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


@pytest.mark.parametrize("option", ["train_shards", "val_shards"])
def test_the_largest_number_of_shards_is_one_for_each_image(
    tree, output, option
):
    index = convert(tree, output, **OPTIONS | {option: 99_999})
    split = option.removesuffix("_shards")
    assert index[split] == {"train": 6, "val": 2}[split] * [1]


@pytest.mark.parametrize("quality", [1, 100])
def test_the_quality_is_that_of_what_is_encoded_anew(tree, output, quality):
    contents = encode(200, "PNG")
    (tree / "val/a/0.jpg").write_bytes(contents)
    convert(tree, output, **OPTIONS, quality=quality)
    val = imagenet.open_source(output).val
    found = {label: contents for contents, label in map(val.read, range(2))}
    assert found[0] == as_jpeg(contents, "a", quality)
    assert found[1] == (tree / "val/b/0.jpg").read_bytes()


def test_shards_have_mixed_images_and_nearly_as_many_each():
    files = {
        split: [(f"{split}/{i}", i % 2) for i in range(number)]
        for split, number in (("train", 50), ("val", 7))
    }
    plan = tfrecords._plan(files, {"train": 4, "val": 3}, seed=0)
    assert [(name[:11], len(x)) for name, x in plan.items()] == [
        ("train-00000", 12),
        ("train-00001", 13),
        ("train-00002", 12),
        ("train-00003", 13),
        ("val-00000-o", 2),
        ("val-00001-o", 2),
        ("val-00002-o", 3),
    ]
    for split in ("train", "val"):
        entries = [x for k, v in plan.items() if split in k for x in v]
        assert sorted(entries) == sorted(files[split]) != entries
    assert plan == tfrecords._plan(files, {"train": 4, "val": 3}, seed=0)
    assert plan != tfrecords._plan(files, {"train": 4, "val": 3}, seed=1)


def test_what_a_kill_left_is_removed(tree, output):
    os.makedirs(os.path.join(output, "unfinished"))
    for name in (".tmp-a-7.tfrecord", "unfinished/.tmp-a-7.json"):
        open(os.path.join(output, name), "w").close()
    convert(tree, output, **OPTIONS)
    assert sorted(os.listdir(output)) == [
        "dataset.json",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
        "val-00000-of-00001.tfrecord",
    ]


def test_many_bad_images_of_one_split_are_refused(tree, output):
    for i in range(4):
        (tree / f"val/b/bad{i}.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="bad: 4 of 6"):
        convert(tree, output, **OPTIONS)


# Of the command: what is given, and the default.
COMMAND = {
    "source": ("tree", None),
    "output": ("shards", None),
    "train_shards": ("--train-shards 7", 1024),
    "val_shards": ("--val-shards 8", 128),
    "seed": ("--seed 9", 0),
    "quality": ("--quality 10", 95),
    "workers": ("--workers 11", None),
}


def test_every_option_of_the_command_reaches_the_conversion(
    monkeypatch, capsys
):
    index = {"left_out": {}}
    for split in ("train", "val"):
        index |= {split: [2, 1], f"{split}_encoded_anew": ["a"]}
        index[f"{split}_bad"] = ["b", "c"]
    calls = []

    def note(**options):
        calls.append(options)
        return index

    monkeypatch.setattr(tfrecords, "convert", note)
    for number in (2, len(COMMAND)):
        given = [text for text, _ in COMMAND.values()][:number]
        monkeypatch.setattr(sys, "argv", ["x", *" ".join(given).split()])
        tfrecords.main()
    given = {"source": "tree", "output": "shards"}
    defaults = {name: default for name, (_, default) in COMMAND.items()}
    assert calls[0] == defaults | given
    others = dict(zip(list(COMMAND)[2:], (7, 8, 9, 10, 11)))
    assert calls[1] == given | others
    parameters = inspect.signature(convert).parameters.values()
    assert {x.name: x.default for x in parameters if x.name in others} == {
        name: defaults[name] for name in others
    }
    assert capsys.readouterr().out.splitlines()[0] == (
        "train: 3 images in 2 shards, 1 encoded anew, 2 bad: b, c"
    )


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_the_command_ends_with_a_line(error, monkeypatch):
    def fail(**options):
        raise error("reason")

    monkeypatch.setattr(tfrecords, "convert", fail)
    monkeypatch.setattr(sys, "argv", ["tfrecords", "a", "b"])
    with pytest.raises(SystemExit, match="^tfrecords: reason$"):
        tfrecords.main()


def test_shards_are_the_same_in_a_storage(tree, output, tmp_path):
    import tensorflow as tf

    remote = f"ram://test_tfrecords/{tmp_path.name}"
    for file in tree.rglob("*.jpg"):
        target = f"{remote}/tree/{file.relative_to(tree)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(file), target)
    convert(str(tree), output, **OPTIONS)
    for _ in range(2):  # The second time it is done.
        index = convert(f"{remote}/tree", f"{remote}/output", **OPTIONS)
    names = sorted(os.listdir(output))
    assert sorted(tf.io.gfile.listdir(f"{remote}/output")) == names
    for name in names:
        if name.endswith(".tfrecord"):
            with tf.io.gfile.GFile(f"{remote}/output/{name}", "rb") as file:
                assert file.read() == contents_of_file(output, name)
    batches = [
        list(imagenet.evaluation_batches(imagenet.open_source(x), 2, 8))
        for x in (output, f"{remote}/output")
    ]
    for (images, labels), (others, their_labels) in zip(*batches, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, their_labels)
    source = imagenet.open_source(f"{remote}/output")
    assert source.val.read(1)[1] == source.val.num_images - 1
    assert index["train"] == [3, 3]
    tf.io.gfile.remove(f"{remote}/output/{names[-1]}")
    with pytest.raises(ValueError, match=f"{names[-1]} is missing"):
        imagenet.open_source(f"{remote}/output")
