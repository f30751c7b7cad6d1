"""The parts of a ResNet with attention: stem, blocks, stages and head."""

import warnings

import keras


def apply_bottleneck(
    x, parts, stage, block, filters, output_filters, strides, name
):
    """Block of a ResNet: 1×1, 3×3 and 1×1 convolution, and the shortcut.

    With PSA in place of the 3×3 convolution it is the EPSA block (figure 5).

    Args:
        x: Keras tensor.
        parts: `Parts` of the network.
        stage: Integer, from 1.
        block: Integer, from 1.
        filters: Integer, channels of the first two convolutions.
        output_filters: Integer, channels of the block's output.
        strides: Integer, strides of the second convolution and of the
            shortcut.
        name: Prefix of the layer names.

    Returns:
        Keras tensor, the output of the block.
    """
    shortcut = x
    if strides != 1 or x.shape[parts.channel_axis] != output_filters:
        shortcut = _apply_shortcut(x, parts, output_filters, strides, name)

    x = parts.convolution(filters, 1, name=f"{name}_1_conv")(x)
    x = parts.normalization(name=f"{name}_1_bn")(x)
    x = parts.relu(name=f"{name}_1_relu")(x)

    x = _apply_convolution(x, parts, stage, block, filters, strides, name)

    x = parts.convolution(output_filters, 1, name=f"{name}_3_conv")(x)
    x = parts.normalization(name=f"{name}_3_bn")(x)

    place = parts.place(x, stage, block)
    x = parts.attend(x, "residual", place, name)
    x = keras.layers.Add(name=f"{name}_add", dtype=parts.dtype)([shortcut, x])
    x = parts.relu(name=f"{name}_out")(x)
    return parts.attend(x, "output", place, name)


def _apply_shortcut(x, parts, filters, strides, name):
    if strides != 1 and parts.downsampling == "max":
        # After a ReLU zeros pad as well as PyTorch's -inf.
        x = keras.layers.ZeroPadding2D(
            1, name=f"{name}_0_pad", **parts.of_image
        )(x)
        x = keras.layers.MaxPooling2D(
            3, strides, name=f"{name}_0_pool", **parts.of_image
        )(x)
        strides = 1
    elif strides != 1 and parts.downsampling == "average":
        x = keras.layers.AveragePooling2D(
            strides, padding="same", name=f"{name}_0_pool", **parts.of_image
        )(x)
        strides = 1
    x = parts.convolution(filters, 1, strides=strides, name=f"{name}_0_conv")(x)
    return parts.normalization(name=f"{name}_0_bn")(x)


def _apply_convolution(x, parts, stage, block, filters, strides, name):
    """The second convolution of a block, its normalization and its ReLU."""
    pool = strides if parts.downsampling == "average" else 1
    strides //= pool
    place = parts.place(x, stage, block, filters, strides)
    y = parts.attend(x, "convolution_norm_relu", place, name)
    if y is x:
        y = parts.attend(x, "convolution", place, name)
        if y is x:
            y = parts.convolution(
                filters, 3, strides=strides, name=f"{name}_2_conv"
            )(x)
            y = parts.attend(
                y, "after_convolution", parts.place(y, stage, block), name
            )
        y = parts.normalization(name=f"{name}_2_bn")(y)
        y = parts.relu(name=f"{name}_2_relu")(y)
    if pool == 1:
        return y
    # The zeros around the image are part of the averages.
    y = keras.layers.ZeroPadding2D(1, name=f"{name}_2_pad", **parts.of_image)(y)
    return keras.layers.AveragePooling2D(
        3, pool, name=f"{name}_2_pool", **parts.of_image
    )(y)


def apply_stack(x, parts, stage, filters, output_filters, strides, name):
    """Stage of bottlenecks, the first of them with `strides`.

    Args:
        x: Keras tensor.
        parts: `Parts` of the network.
        stage: Integer, from 1.
        filters, output_filters: As in `apply_bottleneck`.
        strides: Integer, of the first block.
        name: Prefix of the layer names.

    Returns:
        Keras tensor, the output of the stage.
    """
    for block in range(1, parts.num_blocks[stage - 1] + 1):
        x = apply_bottleneck(
            x,
            parts,
            stage,
            block,
            filters,
            output_filters,
            strides=strides if block == 1 else 1,
            name=f"{name}_block{block}",
        )
    return x


def apply_branch(x, parts, filters, output_filters, name):
    """Attention branch (ABN) in front of the last stage.

    Args:
        x: Keras tensor.
        parts: `Parts` of the network.
        filters, output_filters: Those of the last stage.
        name: String, prefix of its names.

    Returns:
        A pair of Keras tensors: `x` weighed by the attention, and the
        logits of the branch `(N, classes)`.
    """
    stage = len(parts.num_blocks)
    copy = parts._replace(attention=None)
    features = apply_stack(
        x, copy, stage, filters, output_filters, 1, f"{name}_branch"
    )
    layer = parts.attention.make(
        parts.place(features, stage, 1),
        f"{name}_{parts.attention.name}",
        **parts.of_image,
    )
    weights, logits = layer(features)
    weighed = keras.layers.Multiply(
        name=f"{name}_branch_multiply", dtype=parts.dtype
    )([x, weights])
    x = keras.layers.Add(name=f"{name}_branch_add", dtype=parts.dtype)(
        [weighed, x]
    )
    return x, logits


def apply_stem(x, parts, filters, pool):
    """The convolutions in front of the stages.

    Args:
        x: Keras tensor of images.
        parts: `Parts` of the network.
        filters: Integers: of a 7×7 convolution, if it is one, otherwise of
            3×3 convolutions. The first has strides of 2.
        pool: Whether a max pooling with strides of 2 follows.

    Returns:
        Keras tensor.
    """
    prefix = parts.prefix
    for i, size in enumerate(filters, start=1):
        part = f"{prefix}conv1_" if i == 1 else f"{prefix}conv1_{i}_"
        x = parts.convolution(
            size,
            7 if len(filters) == 1 else 3,
            strides=2 if i == 1 else 1,
            name=f"{part}conv",
        )(x)
        x = parts.normalization(name=f"{part}bn")(x)
        x = parts.relu(name=f"{part}relu")(x)
    if not pool:
        return x
    # After a ReLU zeros pad as well as PyTorch's -inf.
    x = keras.layers.ZeroPadding2D(
        1, name=f"{prefix}pool1_pad", **parts.of_image
    )(x)
    return keras.layers.MaxPooling2D(
        3, 2, name=f"{prefix}pool1_pool", **parts.of_image
    )(x)


def apply_pooling(x, parts, pooling):
    """Global pooling: `"avg"`, `"max"`, or `None` for none."""
    if pooling is None:
        return x
    pool = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return pool(name=f"{parts.prefix}{pooling}_pool", **parts.of_image)(x)


def apply_classifier(x, parts, activation):
    """The dense layer to the classes, named `predictions`."""
    is_softmax = keras.activations.get(activation) is keras.activations.softmax
    if parts.classes == 1 and is_softmax:
        # Keras says so too, but not before the first call.
        warnings.warn(
            "A softmax over one class is always 1: "
            'classifier_activation="sigmoid" gives its probability. '
            f"Received: classes=1, classifier_activation={activation!r}",
            stacklevel=2,
        )
    # PyTorch's defaults for a linear layer: uniform within 1/sqrt(fan_in).
    bound = x.shape[-1] ** -0.5
    return keras.layers.Dense(
        parts.classes,
        activation=activation,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=f"{parts.prefix}predictions",
        dtype=parts.dtype,
    )(x)
