"""Losses of detectors for each element, and what they are divided by."""

from keras import ops

from keras_epsanet.training.replicas import sum_over_replicas


def focal_loss(targets, logits, alpha=0.25, gamma=2.0):
    """Focal loss of [Lin et al., 2017](https://arxiv.org/abs/1708.02002).

    Args:
        targets: Float tensor of 0 and 1.
        logits: Tensor of the same shape.
        alpha: Float, weight of the ones; `1 - alpha` is that of the zeros.
        gamma: Float, how much less what is right already counts.

    Returns:
        Tensor of the same shape.
    """
    targets, logits = map(ops.convert_to_tensor, (targets, logits))
    entropy = ops.binary_crossentropy(targets, logits, from_logits=True)
    # Of the wrong answer.
    error = ops.abs(targets - ops.sigmoid(logits))
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    return weight * error**gamma * entropy


def global_count(flags):
    """Number of true elements in the parts of a batch on all replicas.

    Args:
        flags: Boolean tensor.

    Returns:
        Float32 scalar, at least 1. The sum over replicas of losses divided
        by it is the loss of the whole batch.
    """
    (count,) = sum_over_replicas([ops.sum(ops.cast(flags, "float32"))])
    return ops.maximum(count, 1.0)
