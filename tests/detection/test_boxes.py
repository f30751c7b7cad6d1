import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection import boxes

STDS = (0.1, 0.1, 0.2, 0.2)


def random_boxes(number, seed=0):
    random = np.random.default_rng(seed)
    corners = random.uniform(-20, 60, (number, 2))
    sizes = random.uniform(1, 50, (number, 2))
    return np.concatenate((corners, corners + sizes), 1).astype("float32")


@pytest.mark.parametrize(
    "anchor, box, deltas",
    [
        ((0, 0, 10, 20), (1, 2, 11, 26), (1, 2, 0, 0.9116)),
        ((5, 5, 15, 25), (5, 5, 25, 25), (5, 0, 3.4657, 0)),
        # Of less than a pixel.
        (
            (0, 0, 10, 20),
            (5, 10, 5.5, 10.5),
            (0.25, 0.125, -14.97866, -18.4444),
        ),
    ],
)
def test_code_of_a_box(anchor, box, deltas):
    anchor, box = np.array((anchor, box), "float32")
    actual = ops.convert_to_numpy(boxes.encode(anchor, box, STDS))
    np.testing.assert_allclose(actual, deltas, atol=1e-4)


@pytest.mark.parametrize(
    "target, expected",
    [
        ("rel_xyxy", (0.25, 0.25, 0.75, 1)),
        ("rel_yxyx", (0.25, 0.25, 1, 0.75)),
        ("xywh", (10, 5, 20, 15)),
    ],
)
def test_formats_of_an_image_that_is_not_square(target, expected):
    box, size = np.array([(10, 5, 30, 20)], "float32"), (20, 40)
    found = boxes.convert(box, "xyxy", target, size)
    np.testing.assert_allclose(ops.convert_to_numpy(found), [expected])
    back = boxes.convert(found, target, "xyxy", size)
    np.testing.assert_allclose(ops.convert_to_numpy(back), box)


def test_decoding_undoes_encoding():
    anchors, others = random_boxes(50), random_boxes(50, seed=1)
    deltas = boxes.encode(anchors, others, STDS)
    decoded = ops.convert_to_numpy(boxes.decode(anchors, deltas, STDS))
    np.testing.assert_allclose(decoded, others, atol=1e-3)


@pytest.mark.parametrize("dw, width", [(50, 1000), (-50, 0.256)])
@pytest.mark.parametrize("dh, height", [(50, 1000), (-50, 0.256)])
def test_decoded_sizes_are_clamped(dw, width, dh, height):
    anchor = np.array([[0, 0, 16, 16]], "float32")
    huge = np.array([[0, 0, dw, dh]], "float32")
    x1, y1, x2, y2 = ops.convert_to_numpy(boxes.decode(anchor, huge))[0]
    np.testing.assert_allclose((x2 - x1, y2 - y1), (width, height), rtol=1e-4)


def test_the_code_of_padding_is_finite():
    padding = np.full((1, 4), -1, "float32")
    assert np.isfinite(
        ops.convert_to_numpy(boxes.encode(random_boxes(1), padding))
    ).all()


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return common / (sum(areas) - common)


@pytest.mark.parametrize("scale", [1, 0.01])
def test_intersection_over_union(scale):
    first, second = scale * random_boxes(9), scale * random_boxes(7, seed=1)
    expected = [[iou(a, b) for b in second] for a in first]
    assert np.count_nonzero(expected) > 9
    actual = boxes.intersection_over_union(first, second[None])
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual)[0], expected, atol=1e-6
    )


def test_boxes_without_area_overlap_nothing():
    point = np.full((1, 4), 3, "float32")
    assert boxes.intersection_over_union(point, point)[0, 0] == 0


def test_clipped_boxes_are_inside():
    """Those of each image in its own, whatever axes there are between."""
    box, sizes = (-3.0, 5, 70, 90), np.array([(50, 60), (95, 20)])
    for shape in ((2, 4), (2, 3, 4), (2, 3, 2, 4)):
        clipped = ops.convert_to_numpy(
            boxes.clip(np.full(shape, box, "float32"), sizes)
        )
        np.testing.assert_array_equal(
            clipped[0], np.broadcast_to((0, 5, 60, 50), shape[1:])
        )
        np.testing.assert_array_equal(
            clipped[1], np.broadcast_to((0, 5, 20, 90), shape[1:])
        )
