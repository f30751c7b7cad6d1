import json

import keras
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from keras_epsanet.data import coco

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

# COCO's ids of 80 classes lie between 1 and 90.
IDS = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
SIZES = [(40, 60), (50, 50), (64, 32), (48, 80), (30, 90)]
OUTLINE = [10, 6, 30, 8, 26, 24, 12, 20]


def make_contents():
    """Five images; objects are in all but the third."""
    images = [
        {"id": 100 + i, "file_name": f"{i}.png", "height": h, "width": w}
        for i, (h, w) in enumerate(SIZES)
    ]
    annotations = [
        {
            "id": 10 * i + j,
            "image_id": 100 + i,
            "category_id": IDS[7 * i + 40 * j],
            "iscrowd": 0,
            "bbox": [10, 6, 20, 18],
            "area": 250,
            "segmentation": [OUTLINE],
        }
        for i in (0, 1, 3, 4)
        for j in (0, 1)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": f"class {n}"} for n in IDS],
    }


def open_contents(folder, contents):
    for image in make_contents()["images"]:
        pixels = np.zeros((image["height"], image["width"], 3), "uint8")
        # Where the objects' box is.
        pixels[6:24, 10:30] = 255
        PIL.Image.fromarray(pixels).save(folder / image["file_name"])
    path = folder / "annotations.json"
    path.write_text(json.dumps(contents))
    return coco.Annotations(path, folder)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return open_contents(tmp_path_factory.mktemp("coco"), make_contents())


def load(annotations, batch_size=1, number=None, **options):
    dataset = coco.load(
        annotations, batch_size, image_size=(40, 60), **options
    )
    return [
        {name: x.numpy() for name, x in batch.items()}
        for batch in (dataset if number is None else dataset.take(number))
    ]


def test_sparse_category_ids_come_back(annotations):
    assert len(annotations.category_ids) == 80
    for image, found in zip(SIZES, annotations.images):
        assert (found.height, found.width) == image
    ids = [annotations.category_ids[i] for i in annotations.images[1].labels]
    assert ids == [IDS[7], IDS[47]]
    assert annotations.class_names[79] == "class 90"


def test_evaluation_has_every_image_once_in_order(annotations):
    batches = load(annotations, batch_size=2)
    ids = [i for batch in batches for i in batch["image_id"]]
    assert ids == [100, 101, 102, 103, 104]
    assert [len(batch["images"]) for batch in batches] == [2, 2, 1]
    assert np.all(batches[1]["labels"][0] == -1)
    assert np.all(batches[1]["boxes"][0] == -1)


# MMDetection's: the shorter side 40 unless the longer would be above 60.
def test_images_are_resized_with_their_ratio_and_padded(annotations):
    sizes = [tuple(b["image_size"][0]) for b in load(annotations)]
    assert sizes == [(40, 60), (40, 40), (60, 30), (36, 60), (20, 60)]
    padded = [(64, 64), (64, 64), (64, 32), (64, 64), (32, 64)]
    for batch, size, whole in zip(load(annotations), SIZES, padded):
        assert batch["images"].shape == (1, *whole, 3)
        height, width = batch["image_size"][0]
        assert np.all(batch["images"][0, height:] == 0)
        assert np.all(batch["images"][0, :, width:] == 0)
        assert tuple(batch["original_size"][0]) == size
    (batch,) = load(annotations, batch_size=5, pad_to=(64, 96))
    assert batch["images"].shape == (5, 64, 96, 3)


def white_box(image):
    """Corners of the part that is lighter than halfway."""
    rows, columns = np.nonzero(image[..., 0] > 0.066)
    return np.array(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    )


def test_boxes_and_masks_follow_the_pixels(annotations):
    seen = {True: 0, False: 0}
    for batch in load(annotations, 1, 24, training=True, masks=True):
        box = batch["boxes"][0, 0]
        np.testing.assert_allclose(box, white_box(batch["images"][0]), atol=1)
        size = batch["image_size"][0]
        scale = size / batch["original_size"][0]
        outline = np.reshape(OUTLINE, (-1, 2)) * scale[::-1]
        flipped = bool(abs(box[0] - 10 * scale[1]) > 1)
        seen[flipped] += 1
        if flipped:
            outline[:, 0] = size[1] - outline[:, 0]
        # The outline drawn eight times as large, then counted.
        mask = np.zeros(batch["masks"].shape[2:])
        fine = PIL.Image.new("L", (8 * mask.shape[1], 8 * mask.shape[0]))
        PIL.ImageDraw.Draw(fine).polygon(
            [tuple(8 * p) for p in outline], fill=1
        )
        expected = np.asarray(fine).reshape(
            mask.shape[0], 8, mask.shape[1], 8
        ).mean((1, 3)) > 0.5
        actual = batch["masks"][0, 0] > 0
        common = np.sum(actual & expected)
        # Few pixels: those on the outline are a tenth.
        assert common / np.sum(actual | expected) > 0.88
    assert min(seen.values()) > 4


def test_large_masks_are_the_scaled_polygons(annotations):
    import pycocotools.mask

    outline = np.reshape(OUTLINE, (-1, 2)) * 20
    runs = pycocotools.mask.frPyObjects([outline.ravel()], 800, 1200)
    expected = pycocotools.mask.decode(runs)[..., 0]
    for segmentation in (None, "runs"):
        image = annotations.images[0]
        if segmentation:
            runs = pycocotools.mask.frPyObjects([OUTLINE], 40, 60)[0]
            image.segmentations[1] = {
                "size": [40, 60], "counts": runs["counts"]
            }
        mask = annotations.masks(0, (800, 1200))[1 if segmentation else 0]
        common = np.sum(mask & expected) / np.sum(mask | expected)
        # Run lengths have the resolution of the file.
        assert common >= (0.9 if segmentation else 0.99)
    image.segmentations[1] = [OUTLINE]


def test_training_leaves_out_images_without_objects(annotations):
    batches = load(annotations, 2, 6, training=True)
    ids = [tuple(batch["image_id"]) for batch in batches]
    epochs = [sorted(sum(ids[i : i + 2], ())) for i in (0, 2, 4)]
    assert epochs == 3 * [[100, 101, 103, 104]]
    assert len(set(ids)) > 2


def test_a_later_start_sees_the_same(annotations):
    whole = load(annotations, 2, 6, training=True, seed=3)
    later = load(annotations, 2, 3, training=True, seed=3, first_step=3)
    for batch, expected in zip(later, whole[3:]):
        for name in batch:
            np.testing.assert_array_equal(batch[name], expected[name])


def test_workers_have_the_parts_of_a_batch(annotations):
    whole = load(annotations, 2, 4, training=True)
    parts = [
        load(annotations, 2, 4, training=True, shard=(i, 2)) for i in (0, 1)
    ]
    for batch, *halves in zip(whole, *parts):
        ids = [half["image_id"][0] for half in halves]
        assert ids == list(batch["image_id"])


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"bbox": [5, 5, 0, 9]}, "side of less than a pixel"),
        ({"bbox": [60, 5, 9, 9]}, "outside of the image"),
        ({"bbox": [5, float("nan"), 9, 9]}, "box not finite"),
        ({"category_id": 12}, "unknown category"),
        ({"image_id": 7}, "unknown image"),
    ],
)
def test_bad_objects_are_counted_and_named(tmp_path, change, reason):
    contents = make_contents()
    contents["annotations"][1].update(change)
    with pytest.warns(UserWarning, match=f"{reason}.*annotations 1"):
        annotations = open_contents(tmp_path, contents)
    assert annotations.skipped == {reason: 1}
    assert len(annotations.images[0].labels) == 1


def test_crowds_are_no_targets(tmp_path):
    contents = make_contents()
    contents["annotations"][0]["iscrowd"] = 1
    annotations = open_contents(tmp_path, contents)
    assert len(annotations.images[0].labels) == 1
    assert annotations.skipped == {}


def test_a_missing_image_is_named_before_work_starts(tmp_path):
    contents = make_contents()
    contents["images"].append(
        {"id": 9, "file_name": "9.png", "height": 9, "width": 9}
    )
    with pytest.raises(ValueError, match="1 of 6.* 9.png"):
        open_contents(tmp_path, contents)


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="Received: annotations="):
        coco.Annotations(path, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 3, "shard": (0, 2)},
        {"batch_size": 5, "training": True},
        {"batch_size": 1, "image_size": (60, 40)},
        {"batch_size": 1, "pad_to": 0},
        {"batch_size": 1, "pad_to": (32, 32)},
        {"batch_size": 1, "bounding_box_format": "rel_xyxy"},
    ],
)
def test_wrong_arguments_are_refused(annotations, options):
    with pytest.raises(ValueError, match="Received: "):
        coco.load(annotations, **{"image_size": (40, 60), **options})


@pytest.mark.parametrize("bounding_box_format", ["yxyx", "xywh", "center_xywh"])
def test_formats_are_keras_ones(annotations, bounding_box_format):
    corners = load(annotations)[0]["boxes"][0, :2]
    (batch, *_) = load(annotations, bounding_box_format=bounding_box_format)
    converted = keras.utils.bounding_boxes.convert_format(
        batch["boxes"][0, :2], source=bounding_box_format, target="xyxy"
    )
    np.testing.assert_allclose(converted, corners, atol=1e-4)
    assert np.all(batch["boxes"][0, 2:] == -1)


def test_batches_of_the_libraries(annotations):
    (batch,) = coco.load(annotations, 1).take(1)
    images, targets = coco.to_keras_hub(batch)
    assert targets.keys() == {"boxes", "labels"}
    other = coco.to_keras_cv(batch)
    assert other["bounding_boxes"]["classes"].dtype == "float32"
    assert other["images"] is images is batch["images"]
