"""Stages that do not train: what `freeze_stages` of a backbone means."""

from keras_epsanet.integers import is_integer


def check_freeze_stages(freeze_stages, stages):
    """Raises a `ValueError` unless so many of the stages can be frozen.

    Returns:
        `freeze_stages`, of Python.
    """
    if not is_integer(freeze_stages) or not 0 <= freeze_stages <= stages:
        raise ValueError(
            f"`freeze_stages` must be an integer from 0 to {stages}. "
            f"Received: freeze_stages={freeze_stages!r}"
        )
    return int(freeze_stages)


def freeze(network, stages, prefix):
    """Freezes the stem and the first stages, or all layers."""
    for layer in network.layers:
        if stages is None or is_frozen(layer, stages, prefix):
            layer.trainable = False


def is_frozen(layer, stages, prefix):
    """Whether `freeze_stages` fixes a layer."""
    frozen = range(1, stages + 2) if stages else ()
    return layer.name.startswith(tuple(f"{prefix}conv{i}_" for i in frozen))
