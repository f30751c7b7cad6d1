"""Which object an anchor or a proposal stands for."""

from keras import ops


def match(ious, valid, positive, negative, low_quality=None, candidates=None):
    """Assigns an object to every box, or background, or neither.

    MMDetection's `MaxIoUAssigner`. A box belongs to the object it overlaps
    most, if the IoU is large enough; in addition every object gets the boxes
    that overlap it as much as any does, however little that is.

    Args:
        ious: Float tensor `(..., boxes, objects)`.
        valid: Boolean tensor `(..., objects)`, false for padding.
        positive: Float, least IoU of a box with its object.
        negative: Float, IoU below which a box is background.
        low_quality: Least IoU, above 0, of an object with its best boxes
            for it to get them; `None` for no such boxes.
        candidates: Boolean tensor `(..., boxes)`, false for boxes that are
            neither of an object nor background; `None` for no such boxes.

    Returns:
        Indices of the objects, int32 `(..., boxes)`, for other boxes than
        those of objects without meaning, and two boolean tensors
        `(..., boxes)`: the boxes of objects and those of background.

    Example:

    >>> ious = ops.array([[0.8, 0.1], [0.3, 0.2], [0.45, 0.0]])
    >>> valid = ops.array([True, True])
    >>> indices, is_object, is_background = match(ious, valid, 0.5, 0.4, 0.0)
    >>> [bool(x) for x in is_object], int(indices[1])
    ([True, True, False], 1)
    >>> [bool(x) for x in is_background]
    [False, False, False]
    """
    ious, valid = map(ops.convert_to_tensor, (ious, valid))
    if not ious.shape[-1]:  # Or unknown: there may be no largest IoU.
        ious, valid = (
            ops.pad(x, (len(x.shape) - 1) * [(0, 0)] + [(0, 1)])
            for x in (ious, valid)
        )
    if ious.shape[-2] == 0:  # Keras takes no maximum of nothing.
        none = ops.zeros(ops.shape(ious)[:-1], "int32")
        return none, none > 0, none == 0
    ious = ops.where(valid[..., None, :], ious, -1.0)
    if candidates is not None:
        ious = ops.where(candidates[..., None], ious, -1.0)
    best = ops.max(ious, axis=-1)
    indices = ops.cast(ops.argmax(ious, axis=-1), "int32")
    is_object = best >= positive
    is_background = best < negative
    if candidates is not None:
        is_background = is_background & candidates
    if low_quality is None:
        return indices, is_object, is_background
    best_of_object = ops.max(ious, axis=-2, keepdims=True)
    enough = (best_of_object > 0) & (best_of_object >= low_quality)
    forced = (ious == best_of_object) & enough
    is_forced = ops.any(forced, axis=-1)
    # Of several objects the last, as in MMDetection's loop.
    numbers = ops.arange(1, ops.shape(forced)[-1] + 1, dtype="int32")
    last = ops.max(ops.where(forced, numbers, 0), axis=-1) - 1
    return (
        ops.where(is_forced, last, indices),
        is_object | is_forced,
        is_background & ops.logical_not(is_forced),
    )


def gather_objects(values, indices):
    """Takes the value of its object for every box.

    Args:
        values: Tensor `(N, objects, ...)`.
        indices: Integer tensor `(N, boxes)`.

    Returns:
        Tensor `(N, boxes, ...)`.
    """
    extra = len(values.shape) - 2
    shaped = ops.reshape(indices, (*ops.shape(indices), *(extra * (1,))))
    return ops.take_along_axis(values, shaped, axis=1)
