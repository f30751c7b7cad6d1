"""Some images, to fit the modules of a network to."""

import keras
import numpy as np

from keras_epsanet.distribution.input_batches import input_batches

# Each takes 10 MB of memory while modules are fitted (at 224×224 pixels).
MOST_IMAGES = 1024
_BATCH = 32


def read_batches(images, model):
    """Reads images in any form.

    Args:
        images: Array of all images; a tuple of it and their labels; or what
            gives batches of them, as for `input_batches`.
        model: Model of one input, for which the images must be.

    Returns:
        List of float32 arrays of at most 32 images, together the first
        `MOST_IMAGES`.

    Raises:
        ValueError: If there is no image, or one is of another shape or not
            finite.

    Example:

    >>> image = keras.Input((8, 8, 3))
    >>> model = keras.Model(image, keras.layers.ReLU()(image))
    >>> [len(x) for x in read_batches(np.ones((40, 8, 8, 3)), model)]
    [32, 8]
    """
    parts, left = [], MOST_IMAGES
    for _, batch in input_batches(images, batch_size=_BATCH):
        _check_shape(batch, model)
        batch = keras.ops.convert_to_numpy(batch[:left])
        if not np.isfinite(batch).all():
            raise ValueError(
                "`images` must be finite. Received: a batch with NaN or "
                "infinity"
            )
        parts.append(batch.astype("float32"))
        left -= len(batch)
        if left <= 0:
            break
    if left == MOST_IMAGES:
        raise ValueError(f"There must be an image. Received: images={images}")
    images = np.concatenate(parts)
    return [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]


def _check_shape(batch, model):
    shape = tuple(model.inputs[0].shape[1:])
    found = tuple(np.shape(batch))
    fits = len(model.inputs) == 1 and len(found) == len(shape) + 1
    if not fits or any(
        wanted not in (None, size) for wanted, size in zip(shape, found[1:])
    ):
        raise ValueError(
            "`images` must be batches of images of the model's shape, "
            f"{shape}. Received: a batch of shape {found}"
        )
