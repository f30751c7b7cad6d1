import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.explain.gradients import (
    activations_and_gradients,
    activations_and_scores,
    to_float32,
)

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
MATRIX = np.arange(8, dtype="float32").reshape(4, 2)


def forward(tap):
    """Scores of which the gradient is known: those of `2 * X`."""
    x = tap(2 * ops.convert_to_tensor(X))
    return ops.matmul(ops.square(x), MATRIX)


def test_each_score_of_each_image_has_its_gradient():
    found, scores, gradients = activations_and_gradients(forward)
    np.testing.assert_allclose(found, 2 * X, rtol=1e-6)
    np.testing.assert_allclose(scores, (4 * X**2) @ MATRIX, rtol=1e-5)
    expected = [2 * (2 * X) * MATRIX[:, k] for k in range(2)]
    assert gradients.dtype == "float32"
    np.testing.assert_allclose(gradients, expected, rtol=1e-5)


def test_a_score_that_does_not_depend_on_the_layer_has_no_gradient():
    def apart(tap):
        x = tap(ops.convert_to_tensor(X))
        return ops.stack([x[:, 0], ops.convert_to_tensor(X)[:, 1]], axis=1)

    _, _, (first, second) = activations_and_gradients(apart)
    assert (first[:, 0] == 1).all() and (second == 0).all()


def test_what_float16_would_lose_is_kept():
    def small(tap):
        x = tap(ops.ones((1, 1), "float16"))
        return 1e-8 * ops.cast(x, "float32")

    _, scores, gradients = activations_and_gradients(small)
    np.testing.assert_allclose(scores, 1e-8, rtol=0.01)
    np.testing.assert_allclose(gradients, 1e-8, rtol=0.01)


def test_without_gradients_the_same_is_seen():
    found, scores = activations_and_scores(forward)
    np.testing.assert_allclose(found, 2 * X, rtol=1e-6)
    np.testing.assert_allclose(scores, (4 * X**2) @ MATRIX, rtol=1e-5)


@pytest.mark.parametrize("calls", [0, 2])
def test_a_layer_must_be_called_once(calls):
    def repeated(tap):
        x = ops.convert_to_tensor(X)
        for _ in range(calls):
            x = tap(x)
        return x

    message = f"called once.*called {calls} times"
    with pytest.raises(ValueError, match=message):
        activations_and_gradients(repeated)


def test_gradients_stay_off_afterwards_on_torch():
    if keras.backend.backend() != "torch":
        pytest.skip("a switch of PyTorch")
    import torch

    with torch.no_grad():
        activations_and_gradients(forward)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_numpy_gets_numbers_that_it_knows():
    found = to_float32(ops.cast(X, "bfloat16"))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, X, rtol=0.01)
