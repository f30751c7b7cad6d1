"""A function of images and weights on PyTorch, to be timed."""

import keras
import torch


def compile_steps(function, images, weights, upstream, jit=False):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        function: Function of images and weights.
        images, upstream: Tensors; the last is the gradient of the outputs.
        weights: Tensor, or list of them.
        jit: Whether it is compiled.
    """
    operands = keras.tree.map_structure(
        lambda x: x.detach().requires_grad_(), (images, weights)
    )
    flat = keras.tree.flatten(operands)
    if jit:
        function = torch.compile(function)

    def wait(results):
        if images.is_cuda:
            torch.cuda.synchronize()
        return results

    def forward():
        with torch.no_grad():
            return wait(function(*operands))

    def gradients():
        return wait(torch.autograd.grad(function(*operands), flat, upstream))

    return forward, gradients
