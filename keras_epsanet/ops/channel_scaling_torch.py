"""Images times a factor for each of their channels, on PyTorch."""

import torch


class _ScaledChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, factors):
        outputs = inputs * factors
        ctx.save_for_backward(outputs, factors)
        return outputs

    @staticmethod
    def backward(ctx, upstream):
        outputs, factors = ctx.saved_tensors
        sums = (outputs * upstream).sum_to_size(factors.shape)
        of_factors = torch.where(factors == 0, 0, sums / factors)
        return upstream * factors, of_factors


def scale_channels_torch(inputs, factors):
    """As `scale_channels`."""
    if torch.jit.is_tracing():  # As the export to ONNX does.
        return inputs * factors
    return _ScaledChannels.apply(inputs, factors)
