import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection import nms
from keras_epsanet.detection.boxes import intersection_over_union
from keras_epsanet.detection.nms import (
    best_detections,
    non_max_suppression,
    suppress_level,
)


def suppress(boxes, scores, classes, threshold, most, least):
    boxes = boxes.astype("float32")
    ious = ops.convert_to_numpy(intersection_over_union(boxes, boxes))
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if scores[i] > least and all(ious[i, j] <= threshold for j in rivals):
            kept.append(i)
    return kept[:most]


def run(boxes, scores, classes, *arguments):
    result = non_max_suppression(
        np.asarray(boxes, "float32"),
        np.asarray(scores, "float32"),
        np.asarray(classes, "int32"),
        *arguments,
    )
    indices, numbers = map(ops.convert_to_numpy, result)
    assert numbers.max() <= indices.shape[1]
    assert not indices[np.arange(indices.shape[1]) >= numbers[:, None]].any()
    return [list(row[:n]) for row, n in zip(indices, numbers)]


def test_keeps_what_torchvision_keeps():
    boxes = [
        (0, 0, 10, 10),
        (0, 0, 10, 5),  # An IoU of exactly the threshold.
        (0, 0, 10, 10),
        (20, 20, 20, 20),  # No area.
        (20, 20, 20, 20),
        (-10, -10, -2, -2),
    ]
    scores = np.arange(9, 3, -1) / 10
    classes = np.zeros((1, 6))
    kept = run([boxes], [scores], classes, 0.5, 6)
    assert kept == [[0, 1, 3, 4, 5]]


def random_boxes(random):
    corners = random.uniform(0, 40, (3, 50, 2))
    return np.concatenate(
        (corners, corners + random.uniform(5, 30, (3, 50, 2))), -1
    )


@pytest.mark.parametrize(
    "most, least", [(50, 0.0), (5, 0.0), (50, 0.6), (50, -2.0)]
)
def test_equals_a_plain_loop(most, least):
    """Of equal scores the first comes first; that of the limit is too low."""
    random = np.random.default_rng(0)
    boxes = random_boxes(random)
    scores = np.round(random.uniform(size=(3, 50)), 1)
    classes = random.integers(0, 3, (3, 50))
    scores[2] = 0
    expected = [
        suppress(*image, 0.4, most, least)
        for image in zip(boxes, scores, classes)
    ]
    assert len(expected[0]) > 4 and (least < 0 or expected[2] == [])
    assert run(boxes, scores, classes, 0.4, most, least) == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_areas_beyond_half_precision_do_not_overflow(dtype):
    boxes = [[[0.0, 0, 300, 300], [0, 0, 300, 296], [0, 0, 300, 20]]]
    boxes, scores = ops.array(boxes, dtype), ops.array([[0.9, 0.8, 0.7]], dtype)
    classes = ops.zeros((1, 3), "int32")
    for kept, number in (
        non_max_suppression(boxes, scores, classes, 0.5, 3),
        suppress_level(boxes, scores, 0.5, 3),
    ):
        kept = ops.convert_to_numpy(kept)[0]
        assert int(number[0]) == 2 and list(kept[:2]) == [0, 2]


def test_boxes_of_no_score_are_none_of_a_level():
    """`propose` gives them where there is no box."""
    boxes = ops.array([[[0.0, 0, 4, 4], [10, 0, 14, 4], [20, 0, 24, 4]]])
    scores = ops.array([[0.0, 0.2, 1e-6]])
    kept, number = suppress_level(boxes, scores, 0.5, 3)
    assert int(number[0]) == 2
    assert [int(x) for x in kept[0][:2]] == [1, 2]


@pytest.mark.parametrize("threshold, most", [(0.3, 50), (0.7, 50), (0.5, 4)])
def test_a_level_equals_a_plain_loop(threshold, most):
    random = np.random.default_rng(0)
    boxes, scores = random_boxes(random), random.uniform(size=(3, 50))
    kept, numbers = suppress_level(
        ops.array(boxes), ops.array(scores), threshold, most
    )
    assert kept.shape == (3, most)
    for image, row, number in zip(zip(boxes, scores), kept, numbers):
        expected = suppress(*image, np.zeros(50), threshold, most, 0.0)
        found = ops.convert_to_numpy(row)[: int(number)]
        assert list(found) == expected


def test_the_best_are_a_prediction():
    """Scores of the limit are too low; what is behind the number is -1."""
    boxes = [[[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [0, 0, 9, 8]]]
    found = best_detections(
        ops.array(boxes),
        ops.array([[0.7, 0.9, 0.25, 0.6]]),
        ops.array([[3, 5, 4, 3]], "int32"),
        0.5,
        6,
        0.25,
    )
    found = {k: ops.convert_to_numpy(x)[0] for k, x in found.items()}
    assert found["num_detections"] == 2
    assert list(found["labels"]) == [5, 3, -1, -1, -1, -1]
    expected = [0.9, 0.7, -1, -1, -1, -1]
    np.testing.assert_allclose(found["confidence"], expected, rtol=1e-6)
    np.testing.assert_array_equal(
        found["boxes"][:2], [boxes[0][1], boxes[0][0]]
    )


@pytest.mark.parametrize("least", [0.4, 0.95, 2.0])
def test_few_likely_boxes_are_found_as_among_all(least):
    random = np.random.default_rng(0)
    boxes = np.float32(random_boxes(random))
    # In steps, for the first of equal scores is the best.
    scores = np.float32(random.integers(0, 21, (3, 50)) / 20)
    classes = random.integers(0, 3, (3, 50)).astype("int32")
    few, of_all = (
        best_detections(
            *map(ops.convert_to_tensor, (boxes, scores, classes)),
            *(0.3, 9, least, portable),
        )
        for portable in (False, True)
    )
    found = ops.convert_to_numpy(few["num_detections"])
    assert (found.max() > 0) == (least < 1)
    for name, values in few.items():
        wanted = ops.convert_to_numpy(of_all[name])
        if name == "boxes":  # What follows the last one is of no account.
            rows = np.arange(9) < found[:, None]
            values, wanted = ops.convert_to_numpy(values)[rows], wanted[rows]
        np.testing.assert_array_equal(values, wanted)


def test_the_suppression_sees_likely_boxes_alone(monkeypatch):
    if keras.backend.backend() == "jax":
        pytest.skip("its shapes are fixed")
    seen = []

    def note(boxes, *arguments):
        seen.append(len(boxes[0]))
        return non_max_suppression(boxes, *arguments)

    monkeypatch.setattr(nms, "non_max_suppression", note)
    # A score of the limit is too low.
    scores = ops.convert_to_tensor([[0.1, 0.9, 0.5, 0.8], [0.0, 0.7, 0.0, 0.0]])
    boxes, classes = ops.zeros((2, 4, 4)), ops.zeros((2, 4), "int32")
    for portable in (False, True):
        best_detections(boxes, scores, classes, 0.5, 3, 0.5, portable)
    assert seen == [2, 4]
