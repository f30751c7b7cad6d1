"""Losses of detectors for each element, and what they are divided by."""

from keras import ops

from keras_epsanet.distribution.replicas import sum_over_replicas


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
    # Positive where the answer is right.
    logits = (2 * targets - 1) * logits
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    # As an exponential, for the power of an error of 0 has no gradient.
    modulation = ops.exp(gamma * ops.log_sigmoid(-logits))
    return -weight * modulation * ops.log_sigmoid(logits)


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


def count_by_image(*kinds):
    """What MMDetection divides the losses of anchors by.

    Args:
        *kinds: Boolean tensors `(N, anchors)`.

    Returns:
        Float32 scalar, at least 1: the number of true elements on all
        replicas, where an image counts as one for each kind that it lacks.
    """
    numbers = [ops.sum(ops.cast(flags, "float32"), axis=1) for flags in kinds]
    (count,) = sum_over_replicas(
        [sum(ops.sum(ops.maximum(number, 1.0)) for number in numbers)]
    )
    return ops.maximum(count, 1.0)
