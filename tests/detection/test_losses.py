import numpy as np
from keras import ops

from keras_epsanet.detection.losses import (
    count_by_image,
    focal_loss,
    global_count,
)


def test_focal_loss_is_that_of_the_paper():
    logits = np.array([[-30.0, -2, 0, 1.5, 30]])
    probability = 1 / (1 + np.exp(-logits))
    expected = {
        1: 0.25 * (1 - probability) ** 2 * np.logaddexp(0, -logits),
        0: 0.75 * probability**2 * np.logaddexp(0, logits),
    }
    for target, values in expected.items():
        targets = np.full(logits.shape, target, "float32")
        losses = focal_loss(targets, logits.astype("float32"))
        np.testing.assert_allclose(
            ops.convert_to_numpy(losses), values, rtol=1e-5, atol=1e-12
        )


def test_count_is_at_least_one():
    assert float(global_count(np.array([True, False, True]))) == 2
    assert float(global_count(np.zeros(3, "bool"))) == 1


def test_without_gamma_it_is_the_weighted_entropy(gradient_of):
    """Where the answer is certain and right, too, the gradient is a number."""
    logits = np.array([-30.0, -2, 0, 1.5, 30], "float32")
    targets = np.ones_like(logits)

    def total(logits):
        logits = ops.convert_to_tensor(logits)
        return ops.sum(focal_loss(targets, logits, gamma=0.0))

    expected = -0.25 / (1 + np.exp(logits))
    np.testing.assert_allclose(gradient_of(total, logits), expected, 1e-4, 1e-9)


def test_an_image_counts_as_one_for_what_it_lacks():
    objects = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0]], "bool")
    assert float(count_by_image(objects)) == 3 + 1 + 1
    background = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0]], "bool")
    assert float(count_by_image(objects, background)) == 5 + 1 + 2 + 1
