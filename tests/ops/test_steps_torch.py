import types

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("a step of torch", allow_module_level=True)

import torch

from keras_epsanet.ops.steps_torch import compile_steps


def test_forward_keeps_nothing_for_gradients():
    one = torch.ones(2)
    forward, gradients = compile_steps(lambda x, w: x * w, one, one * 3, one)
    assert not forward().requires_grad
    assert [x.tolist() for x in gradients()] == [[3, 3], [1, 1]]
    # Those that were given are left alone.
    assert not one.requires_grad and one.grad is None


def test_it_is_compiled_where_that_is_asked_for(monkeypatch):
    compiled = []

    def compile_function(function):
        compiled.append(function)
        return lambda x, w: 2 * function(x, w)

    monkeypatch.setattr(torch, "compile", compile_function)
    one = torch.ones(2)
    steps = [
        compile_steps(lambda x, w: x * w, one, one, one, jit)[0]
        for jit in (False, True)
    ]
    assert [forward().tolist() for forward in steps] == [[1, 1], [2, 2]]
    assert len(compiled) == 1


def test_a_gpu_is_waited_for(monkeypatch):
    waited = []
    cuda = types.SimpleNamespace(synchronize=lambda: waited.append(1))
    monkeypatch.setattr(torch, "cuda", cuda)

    class OnGPU(torch.Tensor):
        is_cuda = True

    for cls, times in ((torch.Tensor, 0), (OnGPU, 2)):
        one = torch.ones(2).as_subclass(cls)
        forward, gradients = compile_steps(lambda x, w: x * w, one, one, one)
        forward()
        gradients()
        assert len(waited) == times
