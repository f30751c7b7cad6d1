"""Of this backend alone; what all have in common is in test_gradients.py."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("torch only", allow_module_level=True)

import torch

from keras_epsanet.explain.gradients_torch import run


def test_nothing_before_the_layer_is_recorded():
    weight = torch.tensor([[2.0]], requires_grad=True)
    seen = []

    def forward(tap):
        before = weight * 1
        seen.append(before.requires_grad)
        return 3 * tap(before) * weight

    output, scores, (gradient,) = run(forward)
    assert seen == [False] and not scores.requires_grad
    assert float(output) == 2 and float(scores) == 12
    # And no weight gets a gradient by it.
    assert float(gradient) == 6 and weight.grad is None
