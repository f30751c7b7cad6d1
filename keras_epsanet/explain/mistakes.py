"""What a classifier gets wrong, and how certain it is of it."""

from typing import Any, NamedTuple

import numpy as np

from keras_epsanet.classification.results import Results
from keras_epsanet.explain.class_scores import check_scores
from keras_epsanet.explain.labeled_batches import labeled_batches
from keras_epsanet.explain.model_inputs import run
from keras_epsanet.integers import check_positive
from keras_epsanet.layers import ClassNames


class Errors(NamedTuple):
    """Predictions beside the truth.

    Attributes:
        results: `keras_epsanet.classification.results.Results`: labels,
            probabilities, `confusion`.
        mistakes: Int64 array `(K,)`, the places in the data of the images
            that are taken for another class, the most certain first.
        images: Array of the images of `mistakes`.
    """

    results: Any
    mistakes: Any
    images: Any

    def calibration(self, bins=15):
        """Compares how certain the classifier is with how often it is right.

        Args:
            bins: Integer, number of equal ranges of the probability.

        Returns:
            `Calibration`.

        Reference: [Guo et al., 2017](https://arxiv.org/abs/1706.04599),
        equation 3.
        """
        check_positive(bins=bins)
        results = self.results
        certain = results.probabilities.max(axis=-1)
        right = results.predicted == results.labels
        # The last range has 1 in it.
        places = np.minimum((certain * bins).astype("int64"), bins - 1)
        counts = np.bincount(places, minlength=bins)
        sums = (
            np.bincount(places, weights=x, minlength=bins)
            for x in (certain, right)
        )
        with np.errstate(invalid="ignore"):
            confidence, accuracy = (x / counts for x in sums)
        gaps = np.abs(confidence - accuracy)[counts > 0]
        error = float((gaps * counts[counts > 0]).sum() / counts.sum())
        return Calibration(counts, confidence, accuracy, error)


class Calibration(NamedTuple):
    """How certain a classifier is, range by range, and how often right.

    Attributes:
        counts: Int64 array `(bins,)`, images in each range.
        confidence: Float array `(bins,)`, the mean probability of the
            predicted class; NaN of an empty range.
        accuracy: Float array `(bins,)`, the share that is right; as before.
        error: Float, the expected calibration error (ECE): the mean distance
            of both, by images.
    """

    counts: Any
    confidence: Any
    accuracy: Any
    error: float


def errors(model, data, *, number=24, batch_size=32):
    """Looks at what a classifier gets wrong.

    Args:
        model: Functional or built `Sequential` classifier. Scores that are
            no probabilities go through a softmax.
        data: As in `scale_ablation`; all of it is run once.
        number: Integer, most mistakes that are kept with their images.
        batch_size: As in `scale_ablation`.

    Returns:
        `Errors`.

    Raises:
        ValueError: If the data do not fit the model.

    Example:

    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((1, 2, 1)), keras.layers.Flatten()]
    ... )
    >>> images = np.array([[[[3.0], [0]]], [[[0], [9.0]]]])
    >>> found = errors(model, (images, [0, 0]))
    >>> found.mistakes.tolist(), found.results.confusion.tolist()
    ([1], [[1, 1], [0, 0]])
    """
    check_positive(number=number, batch_size=batch_size)
    classes = check_scores(model)
    labels, probabilities, kept = [], [], []
    for batch, numbers in labeled_batches(model, data, batch_size):
        shares = _as_probabilities(run(model, batch))
        first = sum(map(len, labels))
        for i in np.flatnonzero(shares.argmax(axis=-1) != numbers):
            kept.append((-shares[i].max(), first + i, batch[i]))
        kept = sorted(kept, key=lambda x: x[:2])[:number]
        labels.append(numbers)
        probabilities.append(shares)
    names = [x.names for x in model.layers if isinstance(x, ClassNames)]
    return Errors(
        Results(
            names[0] if names else [str(i) for i in range(classes)],
            np.concatenate(labels),
            np.concatenate(probabilities),
        ),
        np.array([place for _, place, _ in kept], "int64"),
        np.array([image for _, _, image in kept]),
    )


def _as_probabilities(scores):
    is_share = (scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-2)
    if is_share:
        return scores
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
