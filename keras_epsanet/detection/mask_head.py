"""The mask head of Mask R-CNN, its loss, and masks as large as the image.

[He et al., 2017](https://arxiv.org/abs/1703.06870), with MMDetection's layout.
"""

import keras
import numpy as np
from keras import ops

from keras_epsanet.detection.losses import global_count
from keras_epsanet.detection.mask_targets import crop_masks
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.layers.grouped_conv2d import fan_out_normal

OUTPUT_SIZE = 14  # Of ROIAlign; that of the masks is double.
THRESHOLD = 0.5


def make_mask_head(filters, num_classes):
    """Makes four convolutions, a transposed one and what follows them.

    Args:
        filters: Integer, channels of the pyramid.
        num_classes: Integer, number of classes without background.

    Returns:
        Functional model from aligned features `(boxes, 14, 14, filters)` to
        float32 logits `(boxes, 28, 28, num_classes)`.
    """
    inputs = keras.Input((OUTPUT_SIZE, OUTPUT_SIZE, filters))
    x = inputs
    for i in range(1, 5):
        x = GroupedConv2D(
            256,
            3,
            use_bias=True,
            activation="relu",
            name=f"mask_conv{i}",
        )(x)
    x = keras.layers.Conv2DTranspose(
        256,
        2,
        strides=2,
        activation="relu",
        kernel_initializer=fan_out_normal(),
        data_format="channels_last",
        name="mask_upsample",
    )(x)
    x = GroupedConv2D(
        num_classes,
        1,
        use_bias=True,
        dtype="float32",
        name="mask_logits",
    )(x)
    return keras.Model(inputs, x, name="mask_head")


def mask_loss(masks, objects, boxes, labels, is_object, logits, grids=None):
    """Cross-entropy of the masks of the right classes.

    Args:
        masks: Tensor `(N, objects, H, W)`, as in `mask_targets.crop_masks`.
        objects: Int32 tensor `(N, samples)`, indices of the objects.
        boxes: Float tensor `(N, samples, 4)`, corners in pixels.
        labels: Int32 tensor `(N, samples)`, classes.
        is_object: Boolean tensor `(N, samples)`; the others do not count.
        logits: Float32 tensor `(N, samples, 28, 28, classes)`.
        grids: Where cropped masks lie, as in `mask_targets.crop_masks`.

    Returns:
        Scalar, the mean over the pixels of the samples that count, on all
        replicas.
    """
    logits = _of_class(logits, labels)
    targets = crop_masks(masks, objects, boxes, logits.shape[2], grids)
    entropy = ops.binary_crossentropy(targets, logits, from_logits=True)
    entropy = ops.mean(entropy, axis=(2, 3))
    return ops.sum(ops.where(is_object, entropy, 0.0)) / global_count(is_object)


def own_class(logits, labels):
    """Probabilities of the right classes' masks, `(N, boxes, 28, 28)`."""
    return ops.sigmoid(_of_class(logits, labels))


def paste_masks(masks, boxes, height, width, threshold=THRESHOLD):
    """Draws the masks of one image's predictions at their places.

    Args:
        masks: Float array `(n, size, size)` of probabilities, as `predict` of
            Mask R-CNN returns for an image.
        boxes: Float array `(n, 4)`, corners in pixels of the picture.
        height, width: Integers, size of the picture in pixels.
        threshold: Float; where the probability is as high the object is.

    Returns:
        Array uint8 `(n, height, width)` of 0 and 1.

    Example:

    >>> masks = paste_masks(np.ones((1, 28, 28)), [[1, 0, 3, 2]], 2, 4)
    >>> masks[0].tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    masks, boxes = np.asarray(masks), np.asarray(boxes, "float64")
    pasted = np.zeros((len(masks), height, width), "uint8")
    for mask, (x1, y1, x2, y2), picture in zip(masks, boxes, pasted):
        rows, vertical = _interpolation(y1, y2, height, mask.shape[0])
        columns, horizontal = _interpolation(x1, x2, width, mask.shape[1])
        picture[rows, columns] = vertical @ mask @ horizontal.T >= threshold
    return pasted


def encode_masks(masks, boxes, height, width, threshold=THRESHOLD):
    """Returns what `paste_masks` draws as COCO's run lengths.

    Args:
        masks, boxes, height, width, threshold: As in `paste_masks`.

    Returns:
        List of dictionaries with `size` and `counts`, a string, for COCO's
        results.

    Raises:
        ImportError: If pycocotools is not installed.
    """
    runs = []
    for i in range(len(masks)):  # One at a time, for they are large.
        part = slice(i, i + 1)
        runs += run_lengths(
            paste_masks(masks[part], boxes[part], height, width, threshold)
        )
    return runs


def run_lengths(masks):
    """Returns masks as COCO's run lengths.

    Args:
        masks: Array `(n, height, width)` of 0 and 1, or boolean.

    Returns:
        As `encode_masks`.

    Raises:
        ImportError: If pycocotools is not installed.
    """
    try:
        import pycocotools.mask
    except ImportError as error:
        raise ImportError(
            "Run lengths need pycocotools: pip install pycocotools"
        ) from error
    runs = []
    for mask in masks:
        run = pycocotools.mask.encode(np.asfortranarray(mask, "uint8"))
        runs.append({**run, "counts": run["counts"].decode("ascii")})
    return runs


def _of_class(logits, labels):
    num_classes = logits.shape[-1]
    labels = ops.minimum(labels, num_classes - 1)  # Background has none.
    own = ops.one_hot(labels, num_classes, dtype="float32")
    return ops.sum(logits * own[:, :, None, None], axis=-1)


def _interpolation(first, last, limit, size):
    """Pixels that a mask covers, and the weights of its own in each."""
    begin = int(np.clip(np.floor(first), 0, limit))
    end = int(np.clip(np.ceil(last), begin, limit))
    middles = np.arange(begin, end) + 0.5
    places = (middles - first) / max(last - first, 1e-9) * size - 0.5
    distances = np.abs(places[:, None] - np.arange(size))
    # Beyond its border a mask is 0.
    return slice(begin, end), np.maximum(0, 1 - distances)
