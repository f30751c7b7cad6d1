"""Mistakes and calibration of a classifier that repeats what it is shown."""

import keras
import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.layers import ClassNames


def repeating(softmax=False):
    """A classifier whose scores are the pixels."""
    image = keras.Input((1, 3, 1))
    x = keras.layers.Flatten()(image)
    if softmax:
        x = keras.layers.Softmax()(x)
    return keras.Model(image, ClassNames(["ant", "bee", "cat"])(x))


def as_images(rows):
    return np.array(rows, "float32").reshape(-1, 1, 3, 1)


SHARES = [[0.7, 0.2, 0.1], [0.1, 0.9, 0], [0.2, 0.2, 0.6], [0, 0, 1]]


def test_mistakes_are_sorted_by_certainty():
    images = as_images(SHARES)
    found = explain.errors(repeating(), (images, [1, 1, 0, 0]))
    assert found.mistakes.tolist() == [3, 0, 2]
    np.testing.assert_array_equal(found.images, images[[3, 0, 2]])
    assert found.results.class_names == ["ant", "bee", "cat"]
    assert found.results.confusion.tolist() == [[0, 0, 2], [1, 1, 0], [0, 0, 0]]


def test_the_most_certain_are_kept_over_all_batches():
    images = as_images(SHARES)
    found = explain.errors(
        repeating(), (images, [1, 1, 0, 0]), number=1, batch_size=1
    )
    assert found.mistakes.tolist() == [3]
    np.testing.assert_array_equal(found.images, images[[3]])


def test_no_mistakes_are_no_images():
    found = explain.errors(repeating(), (as_images(SHARES), [0, 1, 2, 2]))
    assert len(found.mistakes) == 0 and len(found.images) == 0


def test_scores_go_through_a_softmax():
    # Neither what is 1 in sum nor what is not negative alone is a share.
    images = as_images([[3.0, -2, 0], [0, 3, 1]])
    one, other = (
        explain.errors(repeating(x), (images, [0, 0])) for x in (False, True)
    )
    np.testing.assert_allclose(
        one.results.probabilities, other.results.probabilities, atol=1e-6
    )
    assert one.results.probabilities.max() < 1


@pytest.mark.parametrize("row", [[3.0, -2, 0], [0, 3, 1]])
def test_scores_of_any_kind_become_shares(row):
    found = explain.errors(repeating(), (as_images([row]), [0]))
    shares = np.exp(row) / np.exp(row).sum()
    np.testing.assert_allclose(found.results.probabilities, [shares], 1e-5)


def test_classes_without_names_have_numbers():
    model = keras.Sequential([keras.Input((1, 3, 1)), keras.layers.Flatten()])
    found = explain.errors(model, (as_images(SHARES), [0] * 4))
    assert found.results.class_names == ["0", "1", "2"]
    assert len(found.calibration().counts) == 15


def test_no_more_mistakes_than_24_are_kept():
    images = as_images([[0, 1, 0]] * 25)
    found = explain.errors(repeating(), (images, [0] * 25))
    # The first ones, of equally certain ones.
    assert found.mistakes.tolist() == [*range(24)]


def test_calibration_by_hand():
    rows = [[0.95, 0.05, 0], [0.95, 0.05, 0], [0.55, 0.45, 0], [0, 0, 1]]
    found = explain.errors(repeating(), (as_images(rows), [0, 1, 0, 2]))
    calibration = found.calibration(bins=10)
    counts = np.zeros(10)
    counts[9], counts[5] = 3, 1
    np.testing.assert_array_equal(calibration.counts, counts)
    assert calibration.accuracy[9] == pytest.approx(2 / 3)
    assert calibration.confidence[9] == pytest.approx(2.9 / 3)
    assert calibration.accuracy[5] == 1 and np.isnan(calibration.accuracy[0])
    # (3 * |2/3 - 2.9/3| + 1 * |1 - 0.55|) / 4
    assert calibration.error == pytest.approx((0.9 + 0.45) / 4)


def test_bad_numbers_are_refused():
    images = as_images(SHARES)
    for name in ("number", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            explain.errors(repeating(), (images, [0] * 4), **{name: 0})
    found = explain.errors(repeating(), (images, [0] * 4))
    with pytest.raises(ValueError, match="bins=0"):
        found.calibration(0)
