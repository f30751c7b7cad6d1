"""What the networks are called with, checked and resolved."""

import difflib

import keras

from keras_epsanet.integers import check_positive, is_positive, python_integers

MIN_IMAGE_SIZE = 32
# What other libraries call our arguments.
_SYNONYMS = {
    "num_classes": "classes",
    "image_shape": "input_shape",
    "input_shape": "image_shape",
    "activation": "classifier_activation",
}


def refuse_unknown(function, unknown, known):
    """Raises if there are unknown arguments, and names those that may fit.

    Args:
        function: Name of what was called.
        unknown: Dictionary of the unknown arguments.
        known: Names of the known ones.

    Raises:
        TypeError: As Python does, if `unknown` is not empty.
    """
    if not unknown:
        return
    known = list(known)
    hints = []
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=1)
        meant = _SYNONYMS.get(name)
        for fitting in [meant] if meant in known else close:
            hints.append(f"`{fitting}` instead of `{name}`")
    hint = f" Use {', '.join(hints)}." if hints else ""
    received = ", ".join(f"{k}={v!r}" for k, v in unknown.items())
    raise TypeError(
        f"{function} has no such argument.{hint} Received: {received}"
    )


def check_head(include_top, pooling, classes):
    """Raises a `ValueError` unless this can follow the last stage.

    Returns:
        `classes`, of Python.
    """
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            '`pooling` must be None, "avg" or "max". '
            f"Received: pooling={pooling!r}"
        )
    if include_top:
        return check_positive(classes=classes)
    return python_integers(classes)


def check_variant(variant, variants):
    """Raises a `ValueError` unless there is such a variant.

    Args:
        variant: What was given.
        variants: Names of those that there are.
    """
    if variant not in variants:
        raise ValueError(
            f"`variant` must be one of {', '.join(variants)}. "
            f"Received: variant={variant!r}"
        )


def any_size(image_shape):
    """Returns the shape, `None` for the default in either data format."""
    return None if image_shape == (None, None, 3) else image_shape


def check_frame(stem_filters, downsampling, branch_output, attention):
    """Raises a `ValueError` unless a ResNet can have these.

    Args:
        stem_filters, downsampling, branch_output: As in `ResNet`.
        attention: `AttentionSlot` or `None`.
    """
    if not stem_filters:
        raise ValueError(
            "`stem_filters` must have one entry at least. "
            f"Received: stem_filters={stem_filters!r}"
        )
    if downsampling not in ("convolution", "max", "average"):
        raise ValueError(
            '`downsampling` must be "convolution", "max" or "average". '
            f"Received: downsampling={downsampling!r}"
        )
    if branch_output and (attention is None or attention.slot != "branch"):
        raise ValueError(
            '`branch_output` is of attention="abn" only. Received: '
            f"branch_output={branch_output!r}, "
            f"attention={attention and attention.name!r}"
        )


def check_prefix(prefix):
    """Raises a `ValueError` unless layers can have this prefix."""
    if not isinstance(prefix, str) or "/" in prefix:
        raise ValueError(
            '`prefix` must be a string without "/". '
            f"Received: prefix={prefix!r}"
        )


def image_input(input_tensor, input_shape, include_top, data_format, dtype):
    """Returns the Keras tensor of the images, checked.

    Args:
        input_tensor: Keras tensor, or `None` for a new input.
        input_shape: Shape of one image or `None`.
        include_top: Whether there is a classifier, which needs a size.
        data_format: `"channels_last"` or `"channels_first"`.
        dtype: Dtype policy of the layers.

    Raises:
        ValueError: If the shape cannot be used.
    """
    if input_tensor is None:
        shape = _resolve_input_shape(input_shape, include_top, data_format)
        # As wide as the layers compute, so that no image is rounded, and
        # as other Keras models where that is less.
        widest = keras.dtype_policies.get(dtype).compute_dtype
        if widest != "float64":  # Not promoted to on JAX and PyTorch.
            widest = keras.backend.result_type(widest, keras.config.floatx())
        return keras.Input(shape=shape, dtype=widest)
    if not isinstance(input_tensor, keras.KerasTensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, such as `keras.Input` "
            f"returns. Received: input_tensor={input_tensor!r}"
        )
    shape = tuple(input_tensor.shape[1:])
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            "The shapes of `input_tensor` and of one image contradict each "
            f"other. Received: input_tensor={input_tensor!r}, "
            f"input_shape={tuple(input_shape)}"
        )
    _resolve_input_shape(shape, include_top, data_format)
    return input_tensor


def check_image_shape(image_shape, data_format):
    """Checks the shape of one image, as a backbone calls it.

    Args:
        image_shape: What was given, or `None`.
        data_format: As in `image_input`, or `None`.

    Returns:
        `image_shape`, of Python's integers.

    Raises:
        ValueError: If the shape cannot be used.
    """
    data_format = data_format or keras.config.image_data_format()
    _resolve_input_shape(image_shape, False, data_format, "image_shape")
    return image_shape and tuple(map(python_integers, image_shape))


def _resolve_input_shape(
    input_shape, include_top, data_format, name="input_shape"
):
    """Returns the shape of one image, or raises if it cannot be used."""
    if input_shape is None:
        size = 224 if include_top else None
        if data_format == "channels_last":
            return (size, size, 3)
        return (3, size, size)
    if (
        not isinstance(input_shape, (tuple, list))
        or len(input_shape) != 3
        or not all(x is None or is_positive(x) for x in input_shape)
    ):
        raise ValueError(
            f"`{name}` must have 3 entries: height, width and channels "
            f"(as {data_format} orders them), positive integers or None. "
            f"Received: {name}={input_shape!r}"
        )
    shape = tuple(map(python_integers, input_shape))
    if data_format == "channels_last":
        height, width, channels = shape
        swapped = shape[1:] + shape[:1]
        first, *sizes = shape
        other = "channels_first"
    else:
        channels, height, width = shape
        swapped = shape[2:] + shape[:2]
        first, *sizes = swapped
        other = "channels_last"
    if _too_small(height, width):
        hint = ""
        if first and not _too_small(*sizes):
            hint = (
                f" This shape looks like {other}, but the data format is "
                f"{data_format}: write {swapped}, or "
                f'data_format="{other}".'
            )
        raise ValueError(
            f"Images must have at least {MIN_IMAGE_SIZE} pixels in height "
            f"and width.{hint} Received: {name}={shape!r} ({data_format})"
        )
    if not channels:
        raise ValueError(
            "The number of channels must be known. "
            f"Received: {name}={shape!r} ({data_format})"
        )
    return shape


def check_stages(num_blocks, num_filters):
    """Raises if the stages have not one number of blocks and filters each.

    Returns:
        Both in tuples of Python's integers.
    """
    if len(num_blocks) != len(num_filters):
        raise ValueError(
            "`stackwise_num_blocks` and `stackwise_num_filters` must have "
            "one entry for each stage. Received: "
            f"stackwise_num_blocks={num_blocks!r}, "
            f"stackwise_num_filters={num_filters!r}"
        )
    return [tuple(map(python_integers, x)) for x in (num_blocks, num_filters)]


def _too_small(*sizes):
    return any(size is not None and size < MIN_IMAGE_SIZE for size in sizes)
