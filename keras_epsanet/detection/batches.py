"""The forms of a batch that detectors take, checked before they train."""

import keras
from keras import ops

# What else a batch has, such as numbers of images, is left alone.
TARGETS = ("boxes", "labels", "masks", "mask_grids", "image_size")
# Axes of the same name have the same size.
SHAPES = {
    "images": ("N", "height", "width", "channels"),
    "boxes": ("N", "objects", 4),
    "labels": ("N", "objects"),
    "image_size": ("N", 2),
}


def as_pair(data, needed=()):
    """Images and targets of each form of a batch.

    Args:
        data: What Keras gives a step: a dictionary with `"images"` and the
            targets, images, or images and a dictionary of targets; the first
            two may be alone in a tuple, or before `None`.
        needed: Names of targets that must be there.

    Returns:
        Images, and a dictionary of those of `TARGETS` that there are.

    Raises:
        ValueError: If something is missing or has another shape.
    """
    if isinstance(data, (list, tuple)) and not any(
        x is not None for x in data[1:]
    ):
        data = data[0]  # Keras makes it of arrays, and of single batches.
    if isinstance(data, dict):
        batch = data
    else:
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError(
                "Detectors have no sample weights. "
                f"Received: sample_weight={weights}"
            )
        if isinstance(images, dict) or not isinstance(
            targets, (dict, type(None))
        ):
            raise ValueError(
                "A batch must be a dictionary, or a pair of images and a "
                "dictionary of targets. Received: a pair of "
                f"{type(images).__name__} and {type(targets).__name__}"
            )
        batch = {**(targets or {}), "images": images}
    missing = [name for name in ("images", *needed) if name not in batch]
    if missing:
        raise ValueError(
            f"A batch must have {_listed(('images', *needed))}. "
            f"Received: a batch of {_listed(batch)}"
        )
    _check_shapes(batch)
    targets = {name: x for name, x in batch.items() if name in TARGETS}
    return batch["images"], targets


def image_sizes(images, targets):
    """Height and width of images before their padding.

    Args:
        images: Tensor `(N, H, W, C)`.
        targets: Dictionary with or without `"image_size"`.

    Returns:
        Int32 tensor `(N, 2)`.
    """
    if "image_size" in targets:
        return ops.cast(targets["image_size"], "int32")
    number, *size = ops.shape(images)[:3]
    return ops.broadcast_to(ops.cast(ops.stack(size), "int32"), (number, 2))


def at_least_one_object(targets):
    """Adds an object that is padding where there may be no other.

    The largest of no values has no meaning, nor has the first of them.

    Args:
        targets: Dictionary of tensors.

    Returns:
        Dictionary of tensors.
    """
    if targets["labels"].shape[1]:
        return targets
    padded = dict(targets)
    for name, value in (
        ("boxes", -1),
        ("labels", -1),
        ("masks", 0),
        ("mask_grids", 0),
    ):
        if name in targets:
            rest = (len(targets[name].shape) - 2) * [(0, 0)]
            padded[name] = ops.pad(
                targets[name],
                [(0, 0), (0, 1), *rest],
                constant_values=value,
            )
    return padded


def _check_shapes(batch):
    sizes = {}
    for name, axes in SHAPES.items():
        if name not in batch:
            continue
        shape = getattr(batch[name], "shape", ())
        if getattr(shape, "rank", 0) is None:
            continue  # TensorFlow learns it in the step.
        fits = len(shape) == len(axes)
        for axis, size in zip(axes, shape):
            if size is not None:
                wanted = sizes.setdefault(axis, size)
                fits &= size == (axis if isinstance(axis, int) else wanted)
        if not fits:
            known = (sizes.get(a, a) if a != "N" else a for a in axes)
            raise ValueError(
                f"`{name}` must have the shape "
                f"({', '.join(map(str, known))}). "
                f"Received: {name} of the shape {tuple(shape)}"
            )


def _listed(names):
    return ", ".join(f"`{name}`" for name in names)
