import numpy as np
import pytest
from small_detectors import make_detector

from keras_epsanet.detection import RetinaNet
from keras_epsanet.detection.exported import (
    check_equal,
    input_size,
    make_images,
)


def predictions(number=20, **changes):
    random = np.random.default_rng(0)
    found = {
        "boxes": random.uniform(0, 50, (2, number, 4)),
        "confidence": random.uniform(0, 1, (2, number)),
        "labels": random.integers(0, 3, (2, number)),
        "num_detections": np.array([number, number // 2]),
    }
    return {**found, **changes}


def test_the_same_is_equal_and_counted():
    assert check_equal(predictions(), predictions(), "onnx") == 30
    # What is beyond the last object does not matter.
    other = predictions()
    other["boxes"][1, 10:] = -1
    assert check_equal(other, predictions(), "onnx") == 30


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x.pop("boxes"), "onnx returns confidence, .* boxes"),
        (lambda x: x["num_detections"].fill(3), "finds .*3 3.* objects"),
        (lambda x: x["confidence"].__setitem__((0, 0), 2), "in the scores"),
        (lambda x: x["confidence"].__setitem__((0, 0), np.nan), "nan in the"),
        (
            lambda x: x["boxes"].__setitem__((0, slice(3)), 99),
            "3 of 30 objects",
        ),
        (lambda x: x["labels"].fill(7), "30 of 30 objects"),
    ],
)
def test_what_differs_is_an_error(change, message):
    found = predictions()
    change(found)
    with pytest.raises(RuntimeError, match=message):
        check_equal(found, predictions(), "onnx")


def test_one_coordinate_is_enough_to_differ():
    """More than half a pixel; a twentieth of the objects may."""
    expected = predictions()
    expected["boxes"] = np.round(expected["boxes"])
    for number, shift, is_equal in (
        (20, 0.5, True),
        (1, 0.6, True),
        (2, 0.6, False),
    ):
        found = predictions()
        found["boxes"] = expected["boxes"].copy()
        found["boxes"][0, :number, 2] += shift
        if is_equal:
            assert check_equal(found, expected, "onnx") == 30
        else:
            with pytest.raises(RuntimeError, match=f"in {number} of 30"):
                check_equal(found, expected, "onnx")


@pytest.mark.parametrize("difference, fits", [(9e-4, True), (2e-3, False)])
def test_scores_differ_by_rounding_at_most(difference, fits):
    found = predictions()
    found["confidence"][0, 3] -= difference
    if fits:
        assert check_equal(found, predictions(), "onnx") == 30
    else:
        with pytest.raises(RuntimeError, match="by 2.0e-03 in the scores"):
            check_equal(found, predictions(), "onnx")


def test_rounding_may_exchange_an_object():
    found = predictions()
    found["boxes"][0, :1] = 99
    assert check_equal(found, predictions(), "onnx") == 30


@pytest.mark.parametrize(
    "options, side, expected",
    [
        ({}, None, (800, 1344)),
        ({"image_size": (64, 100)}, None, (64, 128)),
        ({}, 100, (128, 128)),
    ],
)
def test_the_size_is_that_of_a_wide_picture(options, side, expected):
    detector = make_detector(RetinaNet, **options)
    assert input_size(detector, side) == expected


def test_images_are_scenes():
    images = make_images((64, 96), 2)
    assert images.shape == (2, 64, 96, 3) and images.dtype == "float32"
    assert -3 < images.min() < -0.5 and 0.5 < images.max() < 3
    assert not np.array_equal(*images)
