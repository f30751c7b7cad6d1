import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection.matcher import gather_objects, match


def assign(ious, positive, negative, low_quality):
    """MMDetection's MaxIoUAssigner, one box after the other."""
    boxes, objects = ious.shape
    assigned = np.full(boxes, -1)  # -1: neither, -2: background.
    for box in range(boxes):
        if objects == 0 or ious[box].max() < negative:
            assigned[box] = -2
        elif ious[box].max() >= positive:
            assigned[box] = ious[box].argmax()
    if low_quality is not None:
        for number in range(objects):
            best = ious[:, number].max()
            if best > 0 and best >= low_quality:
                assigned[ious[:, number] == best] = number
    return assigned


@pytest.mark.parametrize(
    "thresholds",
    [(0.5, 0.4, 0.0), (0.7, 0.3, 0.3), (0.5, 0.5, None)],
    ids=["retinanet", "rpn", "box head"],
)
@pytest.mark.parametrize("objects", [1, 2, 6])
@pytest.mark.parametrize("share", [None, 0.7])
def test_boxes_are_matched_as_in_mmdetection(thresholds, objects, share):
    """A share of the boxes are candidates, the others are nothing."""
    random = np.random.default_rng(objects)
    # In steps, so that there are ties; the last objects are padding.
    ious = (
        random.integers(0, 11, (4, 40, 8))
        / 10
        * (random.uniform(size=(4, 40, 8)) < 0.3)
    )
    ious[1] *= 0.2
    ious[2, :, 0] = 0
    ious = ious.astype("float32")
    valid = np.arange(8) < objects
    candidates = random.uniform(size=(4, 40)) < (share or 1)
    options = {"candidates": candidates} if share else {}
    result = match(ious, np.tile(valid, (4, 1)), *thresholds, **options)
    indices, positive, negative = map(ops.convert_to_numpy, result)
    for image in range(4):
        used = candidates[image]
        expected = np.full(40, -1)
        expected[used] = assign(ious[image][used][:, valid], *thresholds)
        np.testing.assert_array_equal(positive[image], expected >= 0)
        np.testing.assert_array_equal(negative[image], expected == -2)
        np.testing.assert_array_equal(
            indices[image][expected >= 0], expected[expected >= 0]
        )


def test_without_objects_all_is_background():
    ious = np.ones((5, 3), "float32")
    _, positive, negative = match(ious, np.zeros(3, "bool"), 0.5, 0.4, 0.0)
    assert not np.any(ops.convert_to_numpy(positive))
    assert np.all(ops.convert_to_numpy(negative))


def test_every_box_gets_the_values_of_its_object():
    values = np.arange(12).reshape(2, 3, 2)
    indices = np.array([[2, 0, 0, 1], [1, 1, 2, 0]], "int32")
    for x in (values, values[..., 0]):
        expected = [image[i] for image, i in zip(x, indices)]
        actual = gather_objects(x, indices)
        np.testing.assert_array_equal(ops.convert_to_numpy(actual), expected)


@pytest.mark.parametrize("low_quality", [None, 0.0, 0.3])
@pytest.mark.parametrize("shape", [(2, 0, 3), (2, 5, 0), (2, 0, 0)])
def test_no_boxes_or_no_objects_match_nothing(shape, low_quality):
    valid = ops.ones((shape[0], shape[2]), "bool")
    indices, *flags = match(ops.zeros(shape), valid, 0.5, 0.4, low_quality)
    assert indices.shape == shape[:2]
    is_object, is_background = map(ops.convert_to_numpy, flags)
    assert not is_object.any() and is_background.all()
