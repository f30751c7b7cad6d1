"""The box head of Faster and Mask R-CNN: class and box of a proposal."""

import keras
from keras import ops

from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.losses import global_count

OUTPUT_SIZE = 7  # Of ROIAlign.
STDS = (0.1, 0.1, 0.2, 0.2)


def make_box_head(filters, num_classes):
    """Makes two fully connected layers and what follows them.

    Args:
        filters: Integer, channels of the pyramid.
        num_classes: Integer, number of classes without background.

    Returns:
        Functional model from aligned features `(boxes, 7, 7, filters)` to a
        list of float32 tensors: logits `(boxes, num_classes + 1)`, those of
        background last, and box deltas `(boxes, num_classes, 4)`.
    """
    inputs = keras.Input((OUTPUT_SIZE, OUTPUT_SIZE, filters))
    x = keras.layers.Flatten(name="box_flatten")(inputs)
    for i in (1, 2):
        x = keras.layers.Dense(1024, activation="relu", name=f"box_fc{i}")(x)
    logits = _dense(num_classes + 1, 0.01, "class_logits")(x)
    deltas = _dense(4 * num_classes, 0.001, "box_deltas")(x)
    deltas = keras.layers.Reshape(
        (num_classes, 4), dtype="float32", name="box_deltas_by_class"
    )(deltas)
    return keras.Model(inputs, [logits, deltas], name="box_head")


def box_head_losses(proposals, boxes, labels, chosen, logits, deltas):
    """Losses of the proposals that are sampled.

    Args:
        proposals: Float tensor `(N, samples, 4)`, corners in pixels.
        boxes: Float tensor `(N, samples, 4)`, the object of each.
        labels: Int32 tensor `(N, samples)`, the class, that of background
            last.
        chosen: Boolean tensor `(N, samples)`, false for no sample.
        logits: Float32 tensor `(N, samples, classes + 1)`.
        deltas: Float32 tensor `(N, samples, classes, 4)`.

    Returns:
        Two scalars, cross-entropy of the classes and L1 loss of the deltas of
        the right class, both divided by the number of samples on all
        replicas.
    """
    num_classes = deltas.shape[2]
    count = global_count(chosen)
    entropy = ops.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    is_object = chosen & (labels < num_classes)
    own = ops.minimum(labels, num_classes - 1)  # Background has none.
    own = ops.one_hot(own, num_classes, dtype="float32")[..., None]
    errors = ops.abs(
        ops.sum(deltas * own, axis=2) - box_ops.encode(proposals, boxes, STDS)
    )
    return (
        ops.sum(ops.where(chosen, entropy, 0.0)) / count,
        ops.sum(ops.where(is_object[..., None], errors, 0.0)) / count,
    )


def decode_boxes(proposals, valid, logits, deltas, image_size):
    """Every proposal as a box of every class.

    Args:
        proposals: Float tensor `(N, proposals, 4)`.
        valid: Boolean tensor `(N, proposals)`.
        logits, deltas: As in `box_head_losses`.
        image_size: Integer tensor `(N, 2)`, heights and widths in pixels.

    Returns:
        Boxes `(N, proposals * classes, 4)`, their scores and their int32
        classes `(N, proposals * classes)`; scores of 0 where there is no
        proposal.
    """
    number, num_classes = ops.shape(deltas)[1:3]
    boxes = box_ops.decode(proposals[:, :, None], deltas, STDS)
    boxes = box_ops.clip(boxes, image_size)
    scores = ops.softmax(logits)[..., :-1] * ops.cast(
        valid[..., None], "float32"
    )
    classes = ops.tile(ops.arange(num_classes, dtype="int32"), [number])
    scores = ops.reshape(scores, (-1, number * num_classes))
    return (
        ops.reshape(boxes, (-1, number * num_classes, 4)),
        scores,
        ops.broadcast_to(classes, ops.shape(scores)),
    )


def _dense(units, stddev, name):
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
        dtype="float32",
        name=name,
    )
