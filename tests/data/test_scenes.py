import json
import os

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from keras_epsanet.data import scenes
from keras_epsanet.data.fashion_mnist import CLASS_NAMES

NUMBER = {"train": 30, "val": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "clothes"
    scenes.write(path, NUMBER["train"], NUMBER["val"], (96, 128), seed=3)
    return path


def read(folder, split):
    return COCO(folder / "annotations" / f"instances_{split}.json")


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("split", NUMBER)
def test_pycocotools_reads_images_and_categories(folder, split):
    coco = read(folder, split)
    assert len(coco.getImgIds()) == NUMBER[split]
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    assert names == dict(enumerate(CLASS_NAMES, start=1))
    ids = coco.getAnnIds()
    assert len(set(ids)) == len(ids) > NUMBER[split] and min(ids) == 1
    for image in coco.loadImgs(coco.getImgIds()):
        assert (image["height"], image["width"]) == (96, 128)
        assert (folder / split / image["file_name"]).is_file()
    assert len(list((folder / split).iterdir())) == NUMBER[split]


@pytest.mark.parametrize("split", NUMBER)
def test_areas_boxes_and_masks_agree_and_are_what_was_composed(folder, split):
    coco = read(folder, split)
    for index in range(NUMBER[split]):
        _, labels, masks = scenes.compose(split, index, (96, 128), seed=3)
        assert masks.sum(0).max() <= 1  # Each pixel shows one item.
        annotations = coco.loadAnns(coco.getAnnIds(index + 1))
        assert len(annotations) == len(labels) >= 1
        for annotation, label, mask in zip(annotations, labels, masks):
            assert annotation["category_id"] == label + 1
            assert annotation["iscrowd"] == 0
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            code = coco.annToRLE(annotation)
            assert annotation["area"] == coco_mask.area(code) > 0
            assert annotation["bbox"] == coco_mask.toBbox(code).tolist()


def test_files_show_the_composed_images(folder):
    import tensorflow as tf

    for index in range(5):
        image, *_ = scenes.compose("train", index, (96, 128), seed=3)
        file = tf.io.read_file(str(folder / f"train/{index + 1:012}.jpg"))
        decoded = tf.io.decode_jpeg(file).numpy().astype(int)
        assert np.abs(decoded - image).mean() < 6


@pytest.mark.parametrize("part, split", [("train", "train"), ("test", "val")])
def test_each_split_uses_its_own_items(monkeypatch, part, split):
    asked = []
    items = scenes._items
    monkeypatch.setattr(
        scenes, "_items", lambda part: asked.append(part) or items(part)
    )
    scenes.compose(split, 0)
    assert asked == [part]


def test_items_are_those_of_the_data_set(folder):
    # One large item without overlap: undo the size, and find it again.
    from keras_epsanet.data.fashion_mnist import FILE

    with np.load(FILE) as arrays:
        originals = arrays["test_images"][..., 0] / 255.0
        classes = arrays["test_labels"]
    found = 0
    for index in range(40):
        image, labels, masks = scenes.compose("val", index, 256, objects=(1, 1))
        (mask,) = masks
        rows, columns = np.nonzero(mask)
        border = min(rows.min(), columns.min()) == 0 or 255 in (
            rows.max(),
            columns.max(),
        )
        if mask.sum() < 9216 or border:
            continue
        shape = originals[classes == labels[0]]
        crop = (
            image.mean(-1)[
                rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
            ]
            * mask[
                rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
            ]
        )
        scores = [similarity(crop, original) for original in shape]
        found += max(scores) > 0.97
        assert max(scores) > 0.9
    assert found >= 3


def similarity(crop, original):
    """Correlation of a crop and the lit part of an original, at 28×28."""
    rows, columns = np.nonzero(original > 0.1)
    part = original[
        rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
    ]
    y = (np.arange(28) + 0.5) / 28
    a, b = (
        x[np.ix_((y * x.shape[0]).astype(int), (y * x.shape[1]).astype(int))]
        for x in (crop, part)
    )
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    scenes.write(tmp_path / "again", 30, 12, (96, 128), seed=3)
    assert files(tmp_path / "again") == files(folder)
    scenes.write(tmp_path / "other", 30, 12, (96, 128), seed=4)
    other, before = files(tmp_path / "other"), files(folder)
    assert other.keys() == before.keys()
    assert not [name for name in other if other[name] == before[name]]


def test_fewer_scenes_are_the_first_of_more(folder, tmp_path):
    scenes.write(tmp_path / "few", 4, 2, (96, 128), seed=3)
    few, all_files = files(tmp_path / "few"), files(folder)
    pictures = [name for name in few if name.endswith(".jpg")]
    assert len(pictures) == 6
    assert all(few[name] == all_files[name] for name in pictures)


def test_train_and_val_scenes_differ(folder):
    contents = list(files(folder).values())
    assert len(set(contents)) == len(contents)


@pytest.mark.parametrize(
    "image_size, sizes",
    [(128, ("small", "medium")), (256, ("small", "medium", "large"))],
)
def test_sizes_and_classes_and_overlaps_all_occur(image_size, sizes):
    areas, labels, hidden = [], [], 0
    for index in range(60):
        _, classes, masks = scenes.compose("train", index, image_size)
        areas += [mask.sum() for mask in masks]
        labels += classes.tolist()
        boxes = np.array([coco_mask.toBbox(rle(mask)) for mask in masks])
        overlaps = coco_mask.iou(boxes, boxes, [False] * len(boxes))
        hidden += (np.triu(overlaps, 1) > 0.1).any()
    kinds = np.searchsorted([32**2, 96**2], areas)
    share = dict(zip(("small", "medium", "large"), np.bincount(kinds) / 60))
    assert all(share[size] > 0.1 for size in sizes)
    assert np.bincount(labels, minlength=10).min() > 5
    assert hidden > 10


def rle(mask):
    return coco_mask.encode(np.asfortranarray(mask, "uint8"))


@pytest.mark.parametrize("objects", [(0, 0), (1, 1), (2, 4)])
def test_number_of_items(objects):
    counts = [
        len(scenes.compose("train", i, 128, objects=objects)[1])
        for i in range(20)
    ]
    assert min(counts) >= min(objects[0], 1) and max(counts) == objects[1]


def test_half_of_every_item_is_seen_however_many_are_in_front(monkeypatch):
    fits, placed = scenes._fits, []

    def note(mask, masks):
        found = fits(mask, masks)
        if found:
            placed.append(mask)
        return found

    monkeypatch.setattr(scenes, "_fits", note)
    shares = []
    for index in range(4):
        placed.clear()
        _, _, masks = scenes.compose("val", index, 128, objects=(20, 20))
        for mask, whole in zip(masks, placed, strict=True):
            assert not np.any(mask & ~whole)
            shares.append(mask.sum() / whole.sum())
    assert 0.5 <= min(shares) < 0.6 and max(shares) == 1


def test_a_scene_without_items_is_an_image_without_annotations(tmp_path):
    scenes.write(tmp_path / "empty", 2, 0, 64, objects=(0, 0))
    coco = read(tmp_path / "empty", "train")
    assert len(coco.getImgIds()) == 2 and not coco.getAnnIds()


def test_classes_are_those_that_are_wanted(tmp_path):
    names = ["Ankle boot", "Bag"]
    scenes.write(tmp_path / "two", 6, 1, 64, classes=names)
    coco = read(tmp_path / "two", "train")
    categories = coco.loadCats(coco.getCatIds())
    assert {x["id"]: x["name"] for x in categories} == {
        9: "Bag",
        10: "Ankle boot",
    }
    found = {x["category_id"] for x in coco.loadAnns(coco.getAnnIds())}
    assert found == {9, 10}


def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch):
    def fail(*args):
        if os.listdir(tmp_path):
            raise OSError("disk full")

    monkeypatch.setattr(json, "dump", fail)
    with pytest.raises(OSError, match="disk full"):
        scenes.write(tmp_path / "clothes", 1, 1, 64)
    assert not list(tmp_path.iterdir())


def test_run_lengths_of_a_mask_that_begins_in_the_corner():
    mask = np.array([[1, 1, 0], [0, 1, 0]], bool)
    assert scenes._measure(mask) == {
        "area": 3,
        "bbox": [0, 0, 2, 2],
        "segmentation": {"size": [2, 3], "counts": [0, 1, 1, 2, 2]},
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"folder": "."}, "must not exist yet. Received: folder="),
        ({"num_train": -1}, "Received: num_train=-1"),
        ({"image_size": 32}, "at least 64. Received: image_size=32"),
        ({"image_size": (64, 64, 3)}, "Received: image_size"),
        ({"seed": -1}, "Received: seed=-1"),
        ({"objects": (3, 2)}, r"Received: objects=\(3, 2\)"),
        ({"classes": ["Bag", "Hat"]}, "Ankle boot. Received: classes=.*Hat"),
        ({"classes": []}, r"one or more of .*Received: classes=\(\)"),
        ({"classes": ["Hat"], "num_train": 0}, "Received: classes=.*Hat"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = {"folder": "new", "num_train": 1, "num_val": 1, **arguments}
    with pytest.raises(ValueError, match=message):
        scenes.write(**given)
    assert not list(tmp_path.iterdir())


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match='"train" or "val".*split=test'):
        scenes.compose("test", 0)


def test_what_is_hardly_seen_is_put_somewhere_else():
    def square(side, place=0):
        mask = np.zeros((20, 20), bool)
        mask[place : place + side, :side] = True
        return mask

    small = np.zeros((20, 20), bool)
    small[0, :15] = True
    assert not scenes._fits(small, [])
    small[0, 15] = True
    assert scenes._fits(small, [])
    # Half of the item behind is seen, and 16 pixels of it.
    assert scenes._fits(square(10, 5), [(100, square(10))])
    assert not scenes._fits(square(10, 4), [(100, square(10))])
    tiny = square(4)
    assert scenes._fits(square(10, 10), [(16, tiny)])
    assert not scenes._fits(square(10, 3), [(16, tiny)])


def test_the_origin_of_the_pictures_is_named(folder):
    text = (folder / "annotations" / "instances_val.json").read_text()
    contents = json.loads(text)
    assert contents["info"]["seed"] == 3
    (license,) = contents["licenses"]
    assert license["id"] == 1 and "MIT" in license["name"]
    assert {x["license"] for x in contents["images"]} == {1}
    assert {x["supercategory"] for x in contents["categories"]} == {"clothes"}
