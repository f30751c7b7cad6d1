import pytest

torch = pytest.importorskip("torch")

from keras_epsanet.ops.channel_scaling_torch import (  # noqa: E402
    scale_channels_torch,
)


def test_pytorch_keeps_the_product_alone():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x) or x, lambda x: x
    ):
        inputs = torch.ones(1, 2, 2, 3, requires_grad=True) * 1
        factors = torch.full((1, 1, 1, 3), 0.5, requires_grad=True)
        outputs = scale_channels_torch(inputs, factors)
    pointers = {x.data_ptr() for x in kept}
    assert outputs.data_ptr() in pointers
    assert inputs.data_ptr() not in pointers


def test_a_function_can_be_differentiated_by_torch_func():
    factors = torch.full((1, 1, 1, 3), 0.5)
    found = torch.func.grad(lambda x: scale_channels_torch(x, factors).sum())(
        torch.ones(1, 2, 2, 3)
    )
    assert (found == 0.5).all()
