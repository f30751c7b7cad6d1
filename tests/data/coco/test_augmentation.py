import colorsys

import keras
import numpy as np
import pytest

from keras_epsanet.data import coco, scenes
from keras_epsanet.data.coco.augmentation import (
    Augmentation,
    check_augmentation,
    crop_image,
    distort_colors,
)
from keras_epsanet.detection import unfold_masks

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf


def draw(boxes, height=80, width=120, masks=True):
    """An image whose objects are white rectangles, which are their masks."""
    boxes = np.array(boxes, "float32").reshape(-1, 4)
    y, x = np.mgrid[:height, :width]
    x1, y1, x2, y2 = boxes.T[..., None, None]
    planes = ((x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)).astype("uint8")
    image = np.repeat(255 * planes.max(0)[..., None], 3, 2).astype("uint8")
    labels = np.arange(len(boxes), dtype="int32")
    return image, boxes, labels, planes if masks else None


BOXES = [[10, 20, 40, 50], [70, 10, 110, 70], [0, 0, 8, 8]]


@pytest.mark.parametrize("seed", range(20))
def test_boxes_and_masks_follow_a_crop(seed):
    before = draw(BOXES)
    found = crop_image(*before, np.random.default_rng(seed))
    image, boxes, labels, masks = found
    height, width = image.shape[:2]
    assert 40 <= height <= 80 and 60 <= width <= 120 and len(boxes)
    assert len(boxes) == len(labels) == len(masks)
    assert masks.shape[1:] == (height, width)
    for box, mask in zip(boxes, masks):
        rows, columns = np.nonzero(mask)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_array_equal(edges, box)
        assert (image[mask > 0] == 255).all()
    # An object stays if its center does.
    without = crop_image(*before[:3], None, np.random.default_rng(seed))
    assert without[3] is None
    np.testing.assert_array_equal(without[1], boxes)


def test_crops_differ_and_leave_objects_out():
    found = [
        crop_image(*draw(BOXES), np.random.default_rng(seed))
        for seed in range(20)
    ]
    assert len({x[0].shape for x in found}) > 10
    assert {len(x[1]) for x in found} >= {1, 2}


class Fixed:
    """Random numbers that are given: half of each side, from (10, 10) on."""

    def __init__(self):
        self.drawn = []

    def uniform(self, *arguments):
        self.drawn.append(arguments)
        return np.array([0.5, 0.5])

    def integers(self, low, high):
        # Of an image of 80 x 120; the last start is drawn too.
        assert low == 0 and list(high) == [61, 41]
        return np.array([10, 10])


def test_objects_stay_whose_centers_are_in_the_part_that_is_cut_out():
    boxes = [
        [0, 0, 20, 20],  # Its center is the first pixel's corner.
        [60, 10, 80, 50],  # Its center is the end.
        [20, 30, 50, 70],
        [69, 20, 70, 40],  # Of one pixel.
        [69.5, 20, 70, 40],
    ]
    image, boxes, labels, _ = draw(boxes, masks=False)
    found = crop_image(image, boxes, labels, None, Fixed())
    np.testing.assert_array_equal(found[0], image[10:50, 10:70])
    assert found[2].tolist() == [0, 3]
    assert found[1].tolist() == [[0, 0, 10, 10], [59, 10, 60, 30]]


def test_ten_parts_of_half_of_each_side_and_more_are_tried():
    random = Fixed()
    crop_image(*draw([[3, 3, 3.5, 9]]), random)
    assert random.drawn == 10 * [(0.5, 1, 2)]


def test_half_of_the_images_are_cut():
    before = draw([[0, 0, 120, 80]])
    augmentation = Augmentation(crop=True)
    found = [
        augmentation.apply(*before, np.random.default_rng(seed))[0].shape
        for seed in range(400)
    ]
    share = np.mean([shape != before[0].shape for shape in found])
    assert abs(share - 0.5) < 0.08


def test_an_object_of_which_nothing_is_seen_is_left_out():
    image, boxes, labels, masks = draw(BOXES)
    masks[1] = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = crop_image(image, boxes, labels, masks, random)
        assert found[0].shape == image.shape or 1 not in found[2]


def test_an_image_without_a_part_to_cut_stays():
    before = draw([[3, 3, 3.5, 9]])
    found = crop_image(*before, np.random.default_rng(0))
    assert found[0] is before[0] and found[1] is before[1]


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "coco"
    scenes.write(folder, 6, 0, image_size=(96, 128))
    file = folder / "annotations/instances_train.json"
    return coco.Annotations(file, folder / "train")


def load(annotations, number, masks=True, seed=0, first_step=0, **options):
    batches = coco.load(
        annotations,
        2,
        training=True,
        image_size=(96, 128),
        masks=masks,
        max_objects=6,
        seed=seed,
        first_step=first_step,
        augmentation=Augmentation(**options),
    )
    return list(batches.take(number).as_numpy_iterator())


def turn_down(image, boxes, labels, masks, random):
    """Turns images upside down, and leaves the first object out."""
    height = image.shape[0]
    x1, y1, x2, y2 = boxes.T
    boxes = np.stack((x1, height - y2, x2, height - y1), axis=1)
    if masks is not None:
        masks = masks[1:, ::-1]
    return image[::-1], boxes[1:], labels[1:], masks


OPTIONS = {
    "crop": {"crop": True},
    "least_image_size": {"least_image_size": 48},
    "photometric": {"photometric": True},
    "function": {"function": turn_down},
    "all": {
        "crop": True,
        "least_image_size": 48,
        "photometric": True,
        "function": turn_down,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_masks_lie_in_their_boxes(annotations, name):
    for batch in load(annotations, 6, **OPTIONS[name]):
        for i, labels in enumerate(batch["labels"]):
            planes = unfold_masks(
                batch["masks"][i],
                batch["mask_grids"][i],
                *batch["images"].shape[1:3],
            )
            for box, label, plane in zip(batch["boxes"][i], labels, planes):
                if label < 0:
                    assert (box == -1).all() and not plane.any()
                    continue
                rows, columns = np.nonzero(plane)
                edges = columns.min(), rows.min(), columns.max(), rows.max()
                edges = np.array(edges) + (0, 0, 1, 1)
                if "crop" in OPTIONS[name]:
                    # What is left of the mask may be smaller than the box.
                    assert (edges[:2] > box[:2] - 1.6).all()
                    assert (edges[2:] < box[2:] + 1.6).all()
                else:
                    np.testing.assert_allclose(edges, box, atol=1.6)


def test_without_masks_the_boxes_are_the_same(annotations):
    options = OPTIONS["all"]
    for ours, theirs in zip(
        load(annotations, 3, **options),
        load(annotations, 3, masks=False, **options),
    ):
        for key in ("images", "boxes", "labels", "image_size"):
            np.testing.assert_array_equal(ours[key], theirs[key])
        assert "masks" not in theirs


def test_nothing_to_change_changes_nothing(annotations):
    plain = coco.load(
        annotations,
        2,
        training=True,
        image_size=(96, 128),
        masks=True,
        max_objects=6,
    )
    for ours, theirs in zip(load(annotations, 6), plain.as_numpy_iterator()):
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_a_least_size_of_numpy_is_an_integer_too():
    random = np.random.default_rng(0)
    augmentation = Augmentation(least_image_size=np.int64(40))
    assert augmentation.draw_size((30, 60), (40, 80), random) == (40, 80)


def test_what_is_drawn_is_a_function_of_seed_and_step(annotations):
    options = OPTIONS["all"]
    first = load(annotations, 6, **options)
    later = load(annotations, 2, first_step=4, **options)
    other = load(annotations, 6, seed=1, **options)
    for ours, theirs in zip(first[4:], later):
        np.testing.assert_array_equal(ours["images"], theirs["images"])
    shapes = [x["images"].shape for x in first]
    assert shapes != [x["images"].shape for x in other]
    # And of the epoch, in which there are three batches.
    assert {tuple(x) for y in first[:3] for x in y["image_size"]} != {
        tuple(x) for y in first[3:] for x in y["image_size"]
    }


def test_every_seed_and_number_has_random_numbers_of_its_own():
    drawn = []

    def draw_numbers(image, boxes, labels, masks, random):
        drawn.append(tuple(random.integers(0, 2**30, 3)))
        return image, boxes, labels, masks

    augmentation = Augmentation(function=draw_numbers)
    places = [(seed, number) for seed in range(3) for number in range(5)]
    for seed, number in 2 * places:
        change = augmentation.changes((96, 128), 32, seed)
        change(*draw(BOXES), number)
    assert len(set(drawn)) == len(places)
    assert drawn[: len(places)] == drawn[len(places) :]


def test_the_shorter_side_is_drawn():
    random = np.random.default_rng(0)
    augmentation = Augmentation(least_image_size=640)
    sizes = [
        augmentation.draw_size((480, 640), (800, 1333), random)
        for _ in range(2000)
    ]
    shorter = {min(size) for size in sizes}
    assert min(shorter) == 640 and max(shorter) == 800 and len(shorter) > 150
    for height, width in sizes:
        assert width == round(height * 4 / 3) or abs(width - height * 4 / 3) < 1


@pytest.mark.parametrize("channel", range(3))
def test_colors_change_and_stay_in_range(channel):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    found = [
        distort_colors(tf.constant(image), tf.constant([5, i], "int64")).numpy()
        for i in range(30)
    ]
    assert np.min(found) >= 0 and np.max(found) <= 255
    means = np.array([x[..., channel].mean() for x in found])
    assert means.std() > 8
    again = distort_colors(tf.constant(image), tf.constant([5, 3], "int64"))
    np.testing.assert_array_equal(again, found[3])


def distorted(*colors):
    """Images of some columns of one color each, changed by many keys."""
    image = tf.constant(np.array([colors], "uint8"))
    keys = tf.stack((tf.fill([300], 5), tf.range(300)), axis=1)
    change = tf.function(lambda key: distort_colors(image, key))
    return tf.map_fn(change, tf.cast(keys, "int64"), "float32").numpy()[:, 0]


def check_range(values, least, most):
    """That values fill a range and never leave it."""
    tenth = (most - least) / 10
    assert least - 1e-3 <= values.min() < least + tenth
    assert most + 1e-3 >= values.max() > most - tenth


def test_colors_change_as_far_as_in_mmdetection():
    gray = distorted((128, 128, 128))
    check_range(gray[:, 0, 0], 128 - 32, 128 + 32)
    halves = distorted((118, 118, 118), (138, 138, 138))
    contrast = (halves[:, 1] - halves[:, 0])[:, 0] / 20
    check_range(contrast, 0.5, 1.5)
    red = distorted((140, 100, 100))[:, 0]
    saturation = (red.max(-1) - red.min(-1)) / 40
    check_range(saturation, 0.5, 1.5)
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in red / 255]
    hues = (np.array(hues) + 0.5) % 1 - 0.5
    check_range(hues, -18 / 360, 18 / 360)
    # What is too bright is white before the saturation changes.
    pale = distorted((255, 245, 245))[:, 0]
    assert (pale[gray[:, 0, 0] > 138.1] > 254.9).all()
    # Each is drawn for itself.
    drawn = np.corrcoef([gray[:, 0, 0], contrast, saturation, hues])
    assert abs(drawn - np.eye(4)).max() < 0.25


@pytest.mark.parametrize(
    "function",
    [
        lambda *x: None,
        lambda image, boxes, labels, masks, random: (image, boxes, labels),
        lambda i, b, n, m, random: (i / 255, b, n, m),
        lambda i, b, n, m, random: (i[..., 0], b, n, m),
        lambda i, b, n, m, random: (i, b[1:], n, m),
        lambda i, b, n, m, random: (i, b, n, m[:, 1:]),
        lambda i, b, n, m, random: (i, "abc", n, m),
    ],
)
def test_a_function_that_returns_something_else_is_refused(function):
    augmentation = Augmentation(function=function)
    with pytest.raises(ValueError, match="`function` must return .*Received"):
        augmentation.apply(*draw(BOXES), np.random.default_rng(0))


def test_a_function_may_leave_nothing(annotations):
    def clear(image, boxes, labels, masks, random):
        return image, [], [], []

    (batch,) = load(annotations, 1, function=clear)
    assert (batch["labels"] == -1).all() and not batch["masks"].any()


def test_boxes_of_a_function_are_made_to_fit():
    def move(image, boxes, labels, masks, random):
        return image, boxes + (60, 0, 60, 0), labels, masks

    found = Augmentation(function=move).apply(*draw(BOXES), None)
    np.testing.assert_array_equal(found[1], [[70, 20, 100, 50], [60, 0, 68, 8]])
    assert found[2].tolist() == [0, 2] and len(found[3]) == 2

    def shrink(image, boxes, labels, masks, random):
        boxes = [[5, 5, 6, 9], [5, 5, 9, 6], [5, 5, 5.9, 9]]
        return image, boxes, labels, masks

    found = Augmentation(function=shrink).apply(*draw(BOXES), None)
    assert found[2].tolist() == [0, 1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"function": 1}, "Received: function=1"),
        ({"least_image_size": 0}, "Received: least_image_size=0"),
        ({"least_image_size": 1.5}, "Received: least_image_size=1.5"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"training": False}, "training only"),
        ({"image_size": (32, 128)}, "least_image_size=48"),
        ({"pad_to": (96, 128)}, r"pad_to=\(96, 128\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_work_starts(
    annotations, options, message
):
    options = {"training": True, "image_size": (96, 128), **options}
    augmentation = Augmentation(least_image_size=48)
    with pytest.raises(ValueError, match=message):
        coco.load(annotations, 2, augmentation=augmentation, **options)


def test_limits_themselves_are_allowed():
    augmentation = Augmentation(least_image_size=96)
    check_augmentation(augmentation, True, (96, 128), (128, 128))
    check_augmentation(None, False, (96, 128), (8, 8))
    with pytest.raises(ValueError, match="pad_to"):
        check_augmentation(augmentation, True, (96, 128), (127, 200))
