import numpy as np
from keras import ops

from keras_epsanet.detection.losses import focal_loss, global_count


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
