import os

import keras
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco import batches as coco_batches
from keras_epsanet.detection import unfold_masks

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SIZES = [(40, 60), (50, 50), (64, 32), (48, 80), (30, 90)]
OUTLINE = [10, 6, 30, 8, 26, 24, 12, 20]


@pytest.fixture
def annotations(coco_annotations):
    return coco_annotations


def load(annotations, batch_size=1, number=None, **options):
    dataset = coco.load(annotations, batch_size, image_size=(40, 60), **options)
    return [
        {name: x.numpy() for name, x in batch.items()}
        for batch in (dataset if number is None else dataset.take(number))
    ]


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


def test_numbers_of_numpy_are_integers_too(annotations):
    numbers = {"batch_size": 2, "pad_to": 32, "max_objects": 3}
    numbers |= {"first_step": 1, "seed": 40, "shard": (1, 2)}
    ours = {name: np.array(x, "uint8")[()] for name, x in numbers.items()}
    expected, found = load(annotations, **numbers), load(annotations, **ours)
    for batch, other in zip(expected, found, strict=True):
        for name, value in batch.items():
            np.testing.assert_array_equal(other[name], value)


def white_box(image):
    """Corners of the part that is lighter than halfway."""
    rows, columns = np.nonzero(image[..., 0] > 0.066)
    return np.array(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    )


def test_boxes_and_masks_follow_the_pixels(annotations):
    seen = {True: 0, False: 0}
    drawn = PIL.Image.new("L", (600, 600))
    PIL.ImageDraw.Draw(drawn).polygon([10 * x for x in OUTLINE], fill=1)
    # How much of every pixel the outline encloses.
    inside = np.asarray(drawn).reshape(60, 10, 60, 10).mean((1, 3))
    for batch in load(annotations, 1, 24, training=True, masks=True):
        box = batch["boxes"][0, 0]
        np.testing.assert_allclose(box, white_box(batch["images"][0]), atol=1)
        height, width = batch["image_size"][0]
        scale = batch["image_size"][0] / batch["original_size"][0]
        flipped = bool(abs(box[0] - 10 * scale[1]) > 1)
        seen[flipped] += 1
        padded = batch["images"].shape[1:3]
        mask, *others = unfold_masks(
            batch["masks"][0], batch["mask_grids"][0], *padded
        )
        np.testing.assert_array_equal(others[0], mask)
        assert not np.any(others[1:])
        assert not mask[height:].any() and not mask[:, width:].any()
        mask = mask[:height, :width][:, :: -1 if flipped else 1]
        # The pixel at the upper left corner, as OpenCV's nearest one.
        corners = np.indices((height, width)) + 1e-6
        rows, columns = (corners / scale[:, None, None]).astype(int)
        share = np.zeros((height, width))
        known = (rows < 60) & (columns < 60)
        share[known] = inside[rows[known], columns[known]]
        # Few pixels: those that are halfway in or on the outline.
        wrong = (mask > 0) != (share > 0.5)
        assert wrong.sum() < 0.12 * (share > 0.5).sum()
    assert min(seen.values()) > 4


def flips(annotations, number, **options):
    """Whether each of the first images is flipped, and their ids."""
    batches = load(annotations, 1, number, training=True, **options)
    return [
        (
            int(batch["image_id"][0]),
            bool(
                batch["boxes"][0, 0, 0]
                > 12 * batch["image_size"][0, 1] / batch["original_size"][0, 1]
            ),
        )
        for batch in batches
    ]


def test_every_epoch_has_its_own_flips(annotations):
    seen = flips(annotations, 40)
    epochs = [dict(seen[i : i + 4]) for i in range(0, 40, 4)]
    for image in (100, 101, 103, 104):
        assert len({epoch[image] for epoch in epochs}) == 2
    share = np.mean([flip for _, flip in seen])
    assert 0.25 < share < 0.75
    assert flips(annotations, 40) == seen
    other = flips(annotations, 40, seed=1)
    assert [flip for _, flip in other] != [flip for _, flip in seen]


def places(seed=0, first=0, batch_size=3, number=800):
    """Place in the table, flip and number of images of four."""
    locate = coco_batches._locate(4 * [(40, 60)], batch_size, seed)
    order = coco_batches._training_order(locate, batch_size, first, (0, 1))
    found = order.take(number).as_numpy_iterator()
    return [(int(i), bool(flip), int(n)) for i, flip, n in found]


def test_half_of_the_images_are_flipped():
    assert abs(np.mean([flip for _, flip, _ in places()]) - 0.5) < 0.05


def test_images_have_another_number_in_every_epoch():
    """With batches that leave one of four images out."""
    numbers = [(n, i) for i, _, n in places()]
    assert numbers == [
        (4 * (k // 3) + i, i) for k, (_, i) in enumerate(numbers)
    ]


def test_order_and_flips_are_functions_of_the_seed():
    ours, theirs = places(number=120), places(seed=1, number=120)
    assert [i for i, _, _ in ours] != [i for i, _, _ in theirs]
    flips, others = ({n: f for _, f, n in x} for x in (ours, theirs))
    both = set(flips) & set(others)
    assert 0.2 < np.mean([flips[n] != others[n] for n in both]) < 0.8


def test_colors_have_a_key_for_every_image_epoch_and_seed(
    annotations, monkeypatch
):
    import tensorflow as tf

    def show(image, key):
        assert image.dtype == "uint8"
        number = tf.cast(key[0] * 50 + key[1], "float32")
        return tf.fill(tf.shape(image), 255 * number / 1000)

    monkeypatch.setattr(coco_batches, "distort_colors", show)
    options = {
        "training": True,
        "augmentation": coco.Augmentation(photometric=True),
    }
    keys = [
        (batch["images"][0, 0, 0, 0] * 0.229 + 0.485) * 1000
        for seed in (0, 1)
        for batch in load(annotations, 1, 8, seed=seed, **options)
    ]
    # 8 times the seed and what the number is for, and that of the image.
    wanted = [50 * (8 * s + 3) + i for s in (0, 1) for i in range(8)]
    np.testing.assert_allclose(sorted(keys), wanted, atol=0.01)


def test_nothing_is_flipped_in_evaluation(annotations):
    for batch in load(annotations):
        if batch["labels"][0, 0] >= 0:
            scale = np.tile(batch["image_size"] / batch["original_size"], 2)
            np.testing.assert_allclose(
                batch["boxes"][0, 0], [10, 6, 30, 24] * scale[0, ::-1], 1e-5
            )


def test_training_leaves_out_images_without_objects(annotations):
    batches = load(annotations, 2, 6, training=True)
    ids = [tuple(batch["image_id"]) for batch in batches]
    epochs = [sorted(sum(ids[i : i + 2], ())) for i in (0, 2, 4)]
    assert epochs == 3 * [[100, 101, 103, 104]]
    assert len(set(ids)) > 2


def test_an_epoch_has_the_training_images_once(annotations):
    images = coco.training_images(annotations)
    assert [image.id for image in images] == [100, 101, 103, 104]
    assert coco.training_images(annotations, masks=True) == images


def test_an_evaluation_may_start_later(annotations):
    batches = load(annotations, 2, first_step=1)
    assert [list(x["image_id"]) for x in batches] == [[102, 103], [104]]


def test_evaluation_takes_fewer_images_than_a_batch(annotations):
    (batch,) = load(annotations, 8)
    assert list(batch["image_id"]) == [100, 101, 102, 103, 104]


def test_data_of_no_image_are_refused(coco_contents, open_coco):
    contents = {**coco_contents, "images": [], "annotations": []}
    empty = open_coco(contents)
    for training in (False, True):
        with pytest.raises(ValueError, match=" 0 images"):
            coco.load(empty, 2, training=training)


def test_images_with_more_objects_than_rows_are_named(annotations):
    with pytest.warns(UserWarning, match="4 images.* 1 objects.*100, 101"):
        batch = load(annotations, max_objects=1, masks=True)[0]
    assert batch["boxes"].shape == (1, 1, 4)
    assert batch["labels"][0, 0] == annotations.images[0].labels[0]
    assert batch["masks"].shape[1] == batch["mask_grids"].shape[1] == 1


def test_as_many_objects_as_rows_are_no_warning(annotations, recwarn):
    load(annotations, max_objects=2)
    assert not [x for x in recwarn if "objects" in str(x.message)]


def test_only_objects_with_masks_are_learnt_where_masks_are(
    coco_contents, open_coco
):
    for place in (0, 2, 3):
        coco_contents["annotations"][place]["segmentation"] = []
    annotations = open_coco(coco_contents)
    (batch,) = load(annotations, 4, 1, training=True)
    assert np.sum(batch["labels"] >= 0) == 8
    with pytest.warns(UserWarning, match="3 objects .*no mask"):
        (batch,) = load(annotations, 3, 1, training=True, masks=True)
    assert sorted(batch["image_id"]) == [100, 103, 104]
    for labels, masks in zip(batch["labels"], batch["masks"]):
        np.testing.assert_array_equal(masks.any((1, 2)), labels >= 0)
    assert np.sum(batch["labels"] >= 0) == 5
    # In evaluation every image counts.
    ids = [batch["image_id"][0] for batch in load(annotations, masks=True)]
    assert ids == [100, 101, 102, 103, 104]


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-40])


def draw_again(path):
    PIL.Image.new("RGB", (50, 51)).save(path)


FAULTS = {"cut off": cut_off, "missing": os.remove, "other size": draw_again}


# The next of the last one is the first.
@pytest.mark.parametrize(
    "fault, bad, following",
    [
        ("cut off", 1, 103),
        ("missing", 1, 103),
        ("other size", 1, 103),
        ("missing", 4, 100),
    ],
)
def test_a_bad_image_is_replaced_by_the_next_in_training(
    coco_contents, open_coco, tmp_path, fault, bad, following
):
    def is_flipped(batch):
        return bool(batch["mask_grids"][0, 0, 1, 0] > 20)

    annotations = open_coco(coco_contents)
    good = load(annotations, 1, 24, training=True, masks=True)
    path = tmp_path / f"{bad}.png"
    FAULTS[fault](path)
    with pytest.warns(UserWarning, match=f"skipped.*{bad}.png") as warned:
        batches = load(annotations, 1, 24, training=True, masks=True)
    assert len([x for x in warned if "skipped" in str(x.message)]) == 1
    assert annotations.bad == [str(path)]
    known = {(int(x["image_id"][0]), is_flipped(x)): x for x in good}
    replaced = 0
    for batch, before in zip(batches, good):
        if before["image_id"][0] == 100 + bad:
            # The flip stays.
            before = known[following, is_flipped(before)]
            replaced += 1
        for name, value in before.items():
            np.testing.assert_array_equal(batch[name], value, name)
    assert replaced > 3


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_black_in_evaluation_and_without_objects(
    coco_contents, open_coco, tmp_path, fault
):
    annotations = open_coco(coco_contents)
    FAULTS[fault](tmp_path / "1.png")
    with pytest.warns(UserWarning, match="skipped.*1.png"):
        batches = load(annotations, 2, masks=True)
    ids = [list(batch["image_id"]) for batch in batches]
    assert ids == [[100, -1], [102, 103], [104]]
    assert annotations.bad == [str(tmp_path / "1.png")]
    bad = {name: value[1] for name, value in batches[0].items()}
    assert np.all(bad["labels"] == -1) and np.all(bad["boxes"] == -1)
    assert not bad["masks"].any() and not bad["mask_grids"].any()
    assert tuple(bad["image_size"]) == (40, 40)
    assert len(np.unique(bad["images"][:40, :40, 0])) == 1


def test_too_many_bad_images_are_an_error(coco_contents, open_coco, tmp_path):
    annotations = open_coco(coco_contents)
    for number in range(4):
        os.remove(tmp_path / f"{number}.png")
    with pytest.warns(UserWarning), pytest.raises(Exception, match="4 of 5"):
        load(annotations)


def test_a_later_start_sees_the_same(annotations):
    whole = load(annotations, 2, 6, training=True, seed=3)
    later = load(annotations, 2, 3, training=True, seed=3, first_step=3)
    for batch, expected in zip(later, whole[3:]):
        for name in batch:
            np.testing.assert_array_equal(batch[name], expected[name])


def test_workers_that_start_later_have_the_parts_of_these_batches(annotations):
    whole = load(annotations, 2, 5, training=True)
    for i in (0, 1):
        later = {"first_step": 3, "shard": (i, 2)}
        parts = load(annotations, 2, 2, training=True, **later)
        assert [part["image_id"][0] for part in parts] == [
            batch["image_id"][i] for batch in whole[3:]
        ]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 3, "shard": (0, 2)},
        {"batch_size": 5, "training": True},
        {"batch_size": 1, "image_size": (60, 40)},
        {"batch_size": 1, "image_size": (0, 40)},
        {"batch_size": 1, "image_size": 97},
        {"batch_size": 1, "pad_to": 0},
        {"batch_size": 1, "first_step": -1},
        {"batch_size": 2, "shard": (2, 2)},
        {"batch_size": 2, "shard": (-1, 2)},
        {"batch_size": 1, "shard": (0, 0)},
        {"batch_size": 1, "max_objects": 2.5},
        {"batch_size": 1, "seed": -1},
        {"batch_size": 1, "pad_to": (32, 32)},
        {"batch_size": 1, "pad_to": (60, 59)},
        {"batch_size": 1, "pad_to": (59, 96)},
        {"batch_size": 1, "bounding_box_format": "rel_xyxy"},
        {"batch_size": 1, "augmentation": coco.Augmentation(crop=True)},
    ],
)
def test_wrong_arguments_are_refused(annotations, options):
    with pytest.raises(ValueError, match="Received: "):
        coco.load(annotations, **{"image_size": (40, 60), **options})


@pytest.mark.parametrize(
    "options",
    [{"image_size": (40, 40)}, {"pad_to": (60, 60)}, {"pad_to": 1}],
)
def test_limits_themselves_are_allowed(annotations, options):
    coco.load(annotations, 1, **{"image_size": (40, 60), **options})


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
    assert targets == {k: batch[k] for k in ("boxes", "labels")}
    other = coco.to_keras_cv(batch)
    assert other["bounding_boxes"]["boxes"] is batch["boxes"]
    classes = other["bounding_boxes"]["classes"]
    assert classes.dtype == "float32"
    np.testing.assert_array_equal(classes, batch["labels"])
    assert other["images"] is images is batch["images"]


def test_the_defaults_are_those_of_the_paper(annotations):
    batches = list(coco.load(annotations, 1).as_numpy_iterator())
    assert "masks" not in batches[0]
    assert batches[0]["boxes"].shape == (1, 100, 4)
    assert batches[0]["images"].shape == (1, 800, 1216, 3)
    # The shorter side 800, the longer 1333 at most.
    sizes = [tuple(batch["image_size"][0]) for batch in batches]
    assert sizes[0] == (800, 1200) and sizes[4] == (444, 1333)
