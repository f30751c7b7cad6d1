"""Images times a factor for each of their channels, on PyTorch."""

import torch


class _ScaledChannels(torch.autograd.Function):
    @staticmethod
    def forward(inputs, factors):
        return inputs * factors

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, inputs[1])

    @staticmethod
    def backward(ctx, upstream):
        outputs, factors = ctx.saved_tensors
        sums = (outputs * upstream).sum_to_size(factors.shape)
        # Divided by what is not 0, for the second gradient would be NaN.
        quotients = sums / torch.where(factors == 0, 1, factors)
        return upstream * factors, torch.where(factors == 0, 0, quotients)


def scale_channels_torch(inputs, factors):
    """As `scale_channels`."""
    if torch.jit.is_tracing():  # As the export to ONNX does.
        return inputs * factors
    return _ScaledChannels.apply(inputs, factors)
