import io
import os
import subprocess
import sys
import types

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data import imagenet
from keras_epsanet.data.imagenet.file_split import Slots
from keras_epsanet.data.imagenet.source import Source
from keras_epsanet.data.imagenet.tfrecords import convert
from keras_epsanet.data.keys import CROP, INT64_MAX, random_key

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

SIZE = 32
TRAIN, VAL = 22, 7


def jpeg(image, mode="RGB", **options):
    file = io.BytesIO()
    PIL.Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def smooth_image(random):
    """An image without sharp edges, on which resizers agree."""
    height, width = random.integers(40, 90, 2)
    small = random.integers(0, 256, (4, 4, 3), "uint8")
    image = PIL.Image.fromarray(small).resize((width, height), 3)
    return np.asarray(image)


def write_tree(folder):
    random = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", VAL)):
        for i in range(count):
            path = folder / split / "abc"[i % 3] / f"{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(smooth_image(random), quality=95))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def shards(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    convert(str(tree), str(folder), train_shards=3, val_shards=2, workers=1)
    return folder


@pytest.fixture(params=["tree", "shards"], scope="module")
def source(request):
    return imagenet.open_source(request.getfixturevalue(request.param))


def take(source, number, **options):
    dataset = imagenet.training_batches(
        source, batch_size=4, image_size=SIZE, **options
    )
    return [[x.numpy() for x in batch] for batch in dataset.take(number)]


def assert_same(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        for array, array2 in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, array2)


def test_numbers_of_images_and_classes(source):
    assert source.class_names == ["a", "b", "c"]
    assert (source.num_train, source.num_val) == (TRAIN, VAL)


@pytest.fixture(scope="module")
def whole(source):
    """The first batches. An epoch has 5: 22 images in batches of 4."""
    return take(source, 16)


@pytest.mark.parametrize("first_step", [1, 4, 5, 13])
def test_what_starts_later_sees_the_same(source, whole, first_step):
    number = min(16 - first_step, 6)
    expected = whole[first_step : first_step + number]
    assert_same(take(source, number, first_step=first_step), expected)


def test_batches_hold_images_and_one_hot_labels(whole):
    images, labels = whole[0]
    assert images.shape == (4, SIZE, SIZE, 3) and images.dtype == "uint8"
    assert labels.shape == (4, 3) and np.all(labels.sum(-1) == 1)


def test_the_same_image_looks_otherwise_in_every_epoch(tmp_path):
    image = jpeg(smooth_image(np.random.default_rng(0)))
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.JPEG").write_bytes(image)
    source = imagenet.open_source(tmp_path)
    batches = imagenet.training_batches(source, 2, image_size=SIZE)
    images = np.concatenate([images for images, _ in batches.take(3)])
    assert len(np.unique(images, axis=0)) == 6


def test_parts_of_two_workers_are_the_batch_of_one(source, whole):
    parts = [take(source, 7, shard=(i, 2)) for i in range(2)]
    together = [
        [np.concatenate(pair) for pair in zip(*both)] for both in zip(*parts)
    ]
    assert_same(together, whole[:7])


def test_evaluation_sees_every_image_once_as_torchvision_does(tree, source):
    batches = imagenet.evaluation_batches(source, 4, image_size=SIZE)
    images, labels = (
        np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator())
    )
    assert len(images) == VAL
    shorter = round(SIZE * 256 / 224)
    expected = []
    for path in tree.glob("val/*/*.JPEG"):
        image = PIL.Image.open(path)
        width, height = image.size
        if width <= height:
            size = shorter, int(shorter * height / width)
        else:
            size = int(shorter * width / height), shorter
        image = image.resize(size, PIL.Image.Resampling.BILINEAR)
        left, top = (round((n - SIZE) / 2) for n in size)
        image = image.crop((left, top, left + SIZE, top + SIZE))
        expected.append((np.asarray(image, "int32"), path.parent.name))
    for image, label in zip(images, labels):
        distances = [
            np.abs(image - reference).mean() for reference, _ in expected
        ]
        nearest = int(np.argmin(distances))
        assert distances[nearest] < 0.5  # of 255, by rounding
        assert expected.pop(nearest)[1] == "abc"[label.argmax()]
    assert not expected


@pytest.mark.parametrize("name", ["mix_up", "cut_mix", "random_erasing"])
def test_augmentations_are_the_same_again(tree, name):
    source = imagenet.open_source(tree)
    expected = take(source, 6, augmentations=[name])
    assert np.any(expected[0][0] != take(source, 1)[0][0])
    again = take(source, 3, augmentations=[name], first_step=3)
    assert_same(again, expected[3:])


def test_odd_files_are_decoded_and_bad_ones_named_and_skipped(tmp_path):
    folder = write_tree(tmp_path)
    random = np.random.default_rng(1)
    image = smooth_image(random)
    png = io.BytesIO()
    PIL.Image.fromarray(image).save(png, "PNG")
    odd = {
        "cmyk": jpeg(image, "CMYK"),
        "png": png.getvalue(),
        "gray": jpeg(image, "L"),
        "empty": b"",
        "corrupt": b"\xff\xd8\xff" + random.bytes(300),
    }
    for name, contents in odd.items():
        (folder / "val" / "a" / f"{name}.JPEG").write_bytes(contents)
    source = imagenet.open_source(folder)
    with pytest.warns(UserWarning, match="empty.JPEG"):
        batches = list(imagenet.evaluation_batches(source, 6, image_size=SIZE))
    assert sum(len(images) for images, _ in batches) == VAL + 3
    assert sorted(name.split("/")[-1] for name in source.bad) == [
        "corrupt.JPEG",
        "empty.JPEG",
    ]


@pytest.fixture(scope="module")
def thirteen(tmp_path_factory):
    """Thirteen images to evaluate, and one that cannot be decoded."""
    folder = write_tree(tmp_path_factory.mktemp("thirteen"))
    random = np.random.default_rng(2)
    for i in range(6):
        path = folder / "val" / "b" / f"more{i}.JPEG"
        path.write_bytes(jpeg(smooth_image(random)))
    (folder / "val" / "a" / "bad.JPEG").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def linear():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 64),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.filterwarnings("ignore:.*bad.JPEG", "ignore:Your input ran out")
@pytest.mark.parametrize("size", [1, 4, 5, 13, 16])
def test_evaluation_loss_is_the_mean_over_the_good_images(
    size, thirteen, linear
):
    source = imagenet.open_source(thirteen)
    batches = imagenet.evaluation_batches(source, size, image_size=SIZE)
    losses, right = [], []
    for images, labels in batches.as_numpy_iterator():
        for p, label in zip(linear(images).numpy(), labels.argmax(-1)):
            losses.append(-np.log(p[label]))
            right.append(p.argmax() == label)
    assert len(losses) == VAL + 6 and 0 < np.mean(right) < 1
    np.testing.assert_allclose(
        linear.evaluate(batches, verbose=0),
        (np.mean(losses), np.mean(right)),
        rtol=0,
        atol=1e-6,
    )


def test_workers_evaluate_every_image_once(thirteen):
    def read(shard):
        batches = imagenet.evaluation_batches(
            imagenet.open_source(thirteen), 4, image_size=SIZE, shard=shard
        )
        return [x for x, _ in batches.unbatch().as_numpy_iterator()]

    with pytest.warns(UserWarning, match="bad.JPEG"):
        parts = read((0, 2)), read((1, 2))
        whole = read((0, 1))
    assert len(whole) == VAL + 6 and len(parts[0]) in (7, 8)
    together = {image.tobytes() for part in parts for image in part}
    assert together == {image.tobytes() for image in whole}
    assert len(parts[0]) + len(parts[1]) == len(whole)


def test_many_bad_files_are_an_error(tmp_path):
    folder = write_tree(tmp_path)
    for i in range(4):
        (folder / "val" / "a" / f"bad{i}.JPEG").write_bytes(b"")
    batches = imagenet.evaluation_batches(
        imagenet.open_source(folder), 4, image_size=SIZE
    )
    with (
        pytest.warns(UserWarning),
        pytest.raises(Exception, match="More than 1 % of the images are bad"),
    ):
        list(batches)


def test_converting_again_gives_the_same_bytes(tree, shards, tmp_path):
    names = sorted(path.name for path in shards.iterdir())
    assert len([name for name in names if "tfrecord" in name]) == 5
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    convert(str(tree), str(shards), train_shards=3, val_shards=2, workers=1)
    tfrecords = [path for path in before if "tfrecord" in path.name]
    assert all(before[x] == x.stat().st_mtime_ns for x in tfrecords)
    convert(str(tree), str(tmp_path), train_shards=3, val_shards=2, workers=2)
    for path in tfrecords:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 3, "shard": (0, 2)}, "batch_size=3"),
        ({"batch_size": 64}, "22 images"),
        ({"batch_size": 4, "shard": (2, 2)}, "shard"),
        ({"batch_size": 4, "first_step": -1}, "first_step=-1"),
        ({"batch_size": -4}, "batch_size=-4"),
        ({"batch_size": 4, "shard": (-1, 2)}, "shard"),
        ({"batch_size": 4, "image_size": 0}, "image_size=0"),
        ({"batch_size": 4, "seed": -1}, "seed=-1"),
        ({"batch_size": 4, "seed": 2**31}, "seed=2147483648"),
        ({"batch_size": 23}, "batch_size=23, 22 images"),
        ({"batch_size": 4.0}, "batch_size=4.0"),
        ({"batch_size": 4, "image_size": 32.5}, "image_size=32.5"),
        ({"batch_size": 4, "seed": 0.5}, "seed=0.5"),
        ({"batch_size": 4, "first_step": 2.0}, "first_step=2.0"),
        ({"batch_size": 4, "shard": (0, 2.0)}, r"shard=\(0, 2.0\)"),
        ({"batch_size": 4, "shard": (0.5, 2)}, r"shard=\(0.5, 2\)"),
        ({"batch_size": 4, "shard": (0.0, 2)}, r"shard=\(0.0, 2\)"),
    ],
)
def test_wrong_arguments_are_refused(tree, options, message):
    with pytest.raises(ValueError, match=f"Received.*{message}"):
        imagenet.training_batches(imagenet.open_source(tree), **options)


class Split:
    """Images that are never read."""

    def __init__(self, num_images):
        self.num_images = num_images


@pytest.fixture
def built(monkeypatch):
    """What reads the images and what becomes of one, without a file."""
    seen = types.SimpleNamespace(source=None, uniforms=[])
    seen.source = Source(["a", "b", "c"], Split(TRAIN), Split(VAL))

    def decoded_batches(split, slots, prepare, seed=None):
        seen.split, seen.slots, seen.seed = split, slots, seed
        prepare(b"encoded", tf.constant(5, "int64"), tf.constant(3, "int64"))
        images = tf.zeros((2, 4, 4, 3), "uint8"), tf.constant([1, 2])
        batch = (*images, tf.constant([1.0, 0.0]))
        return tf.data.Dataset.from_tensors(batch)

    def random_crop(encoded, uniforms, size, antialias):
        seen.uniforms.append(uniforms.numpy().tolist())
        seen.crop = encoded, size, antialias
        return tf.zeros((4, 4, 3), "uint8")

    def center_crop(*arguments):
        seen.crop = arguments

    monkeypatch.setattr(imagenet.batches, "decoded_batches", decoded_batches)
    monkeypatch.setattr(imagenet.crops, "random_crop", random_crop)
    monkeypatch.setattr(imagenet.crops, "center_crop", center_crop)
    return seen


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": TRAIN},
        {"batch_size": 4, "image_size": 1, "seed": 2**31 - 1},
        {"batch_size": 4, "shard": (3, 4), "first_step": 0},
        {"batch_size": 6, "shard": (0, 2), "first_step": 7, "seed": 3},
        {"batch_size": 1, "antialias": False},
    ],
    ids=str,
)
def test_arguments_reach_what_reads_the_images(built, options):
    imagenet.training_batches(built.source, **options)
    size, shard = options["batch_size"], options.get("shard", (0, 1))
    assert built.split is built.source.train
    assert built.slots == Slots(
        size,
        TRAIN // size * size,
        options.get("first_step", 0),
        INT64_MAX,
        shard,
    )
    assert built.seed == options.get("seed", 0)
    assert built.crop == (
        b"encoded",
        options.get("image_size", 224),
        options.get("antialias", True),
    )


def test_the_crop_is_of_the_seed_the_epoch_and_the_image(built):
    for size, seed in ((4, 0), (5, 0), (4, 1), (22, 0)):
        imagenet.training_batches(built.source, size, seed=seed)
    # Position 5: of an epoch of 20 or 22 it is in the first.
    first, same, other_seed, also_same = built.uniforms
    assert first == same == also_same != other_seed
    expected = tf.random.stateless_uniform(
        (len(first),), random_key(0, CROP, tf.constant(3, "int64"))
    )
    assert first == expected.numpy().tolist()


@pytest.mark.parametrize(
    "options, crop",
    [
        ({}, (256, 224)),
        ({"image_size": 32}, (37, 32)),
        ({"image_size": 448}, (512, 448)),
        ({"image_size": 32, "shorter_side": 32}, (32, 32)),
        ({"image_size": 32, "shorter_side": 50}, (50, 32)),
    ],
)
@pytest.mark.parametrize("size, steps", [(7, 1), (6, 2), (8, 1), (1, 7)])
def test_evaluation_reads_the_other_split_once(
    built, options, crop, size, steps
):
    batches = imagenet.evaluation_batches(
        built.source, size, shard=(0, 1), **options
    )
    assert built.split is built.source.val and built.seed is None
    assert built.slots == Slots(size, VAL, 0, steps, (0, 1))
    assert built.crop == (b"encoded", *crop)
    # The second image has weight 0.
    ((images, labels),) = batches
    assert images.shape == (1, 4, 4, 3)
    assert labels.numpy().tolist() == [[0, 1, 0]]


def test_workers_evaluate_parts(built):
    imagenet.evaluation_batches(built.source, 6, shard=(1, 2))
    assert built.slots == Slots(6, VAL, 0, 2, (1, 2))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 4, "shorter_side": 223}, "shorter_side=223, image_siz"),
        ({"batch_size": 4, "shorter_side": 256.5}, "shorter_side=256.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 4, "image_size": 0}, "image_size=0"),
        ({"batch_size": 3, "shard": (0, 2)}, "batch_size=3"),
    ],
)
def test_wrong_arguments_of_an_evaluation_are_refused(built, options, message):
    with pytest.raises(ValueError, match=f"Received.*{message}"):
        imagenet.evaluation_batches(built.source, **options)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received"):
        imagenet.open_source(tmp_path)


@pytest.mark.large
def test_a_killed_conversion_goes_on(tmp_path):
    tree = write_tree(tmp_path / "tree")
    for i in range(400):
        os.link(tree / "train/a/0.JPEG", tree / f"train/b/more{i}.JPEG")
    # By its former name, which still runs.
    command = [sys.executable, "-m", "keras_epsanet.data.tfrecords", tree]
    command += ["--train-shards", "40", "--val-shards", "2"]
    whole, output = tmp_path / "whole", tmp_path / "killed"
    process = subprocess.Popen([*command, output])
    while not (done := list(output.glob("train-*.tfrecord"))):
        assert process.poll() is None
    process.kill()
    process.wait()
    with pytest.raises(ValueError, match="not finished: start it again"):
        imagenet.open_source(output)
    written = {path: path.stat().st_mtime_ns for path in done}
    for folder in (output, whole):
        subprocess.run([*command, folder], check=True)
    assert all(path.stat().st_mtime_ns == t for path, t in written.items())
    names = sorted(path.name for path in whole.iterdir())
    assert len(names) == 43
    assert names == sorted(path.name for path in output.iterdir())
    for name in names:
        assert (whole / name).read_bytes() == (output / name).read_bytes()


def test_imagenet2012_of_tensorflow_datasets(tree, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    images = {
        split: sorted((tree / folder).glob("*/*.JPEG"))
        for split, folder in (("train", "train"), ("validation", "val"))
    }
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=1000),
            "file_name": tfds.features.Text(),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012",
        version=tfds.builder_cls("imagenet2012").VERSION,
        features=features,
        split_datasets={
            split: {
                i: {"image": str(path), "label": i, "file_name": path.name}
                for i, path in enumerate(paths)
            }.items()
            for split, paths in images.items()
        },
        data_dir=tmp_path,
    )
    source = imagenet.open_source(f"tfds:{tmp_path}")
    assert (source.num_train, source.num_val) == (TRAIN, VAL)
    assert source.class_names[0] == "n01440764"
    batches = imagenet.evaluation_batches(source, VAL, image_size=SIZE)
    expected = imagenet.evaluation_batches(
        imagenet.open_source(tree), VAL, image_size=SIZE
    )
    (x, y), (x2, _) = next(iter(batches)), next(iter(expected))
    assert y.shape == (VAL, 1000)
    order = np.argsort(np.argmax(y, axis=1))
    np.testing.assert_array_equal(x.numpy()[order], x2.numpy())


def test_imagenet2012_that_is_not_prepared_says_what_to_do(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match="(?s)ILSVRC2012.*Received"):
        imagenet.open_source(f"tfds:{tmp_path}")
