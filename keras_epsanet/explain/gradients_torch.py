"""Gradients at a layer on PyTorch: a graph that begins there."""

import torch


def run(forward):
    """Returns a layer's output, the scores and the gradient of each.

    Args:
        forward: As in `activations_and_gradients`.

    Returns:
        Tensors `(N, ...)` and `(N, K)` and a list of K tensors `(N, ...)`.
    """
    seen = []

    def tap(x):
        # Until here nothing was kept for a gradient.
        torch.set_grad_enabled(True)
        seen.append(x.detach().requires_grad_())
        return seen[0]

    with torch.no_grad():
        scores = forward(tap)
        columns = scores.unbind(dim=1)
    gradients = []
    for column in columns:
        (gradient,) = torch.autograd.grad(
            column,
            seen[0],
            grad_outputs=torch.ones_like(column),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        gradients.append(gradient)
    return seen[0].detach(), scores.detach(), gradients
