"""A random choice among what anchors or proposals were matched to."""

import keras
from keras import ops

from keras_epsanet.detection.top_k import top_k
from keras_epsanet.distribution.replicas import replica


def sample(is_object, is_background, number, max_objects, keys):
    """Chooses some boxes of objects and some of background at random.

    MMDetection's `RandomSampler`: at most `max_objects` boxes of objects,
    and as much background as makes up `number`, if there is enough of it.

    Args:
        is_object, is_background: Boolean tensors `(N, boxes)`.
        number: Integer, boxes to choose in every image.
        max_objects: Integer, at most so many are boxes of objects.
        keys: Float tensor `(N, boxes)` of `random_keys`.

    Returns:
        Indices of the boxes, int32 `(N, number)` or less if there are less
        boxes, those of objects first; and a boolean tensor of the same
        shape, false where an index means nothing for want of boxes.

    Example:

    >>> is_object = ops.array([[False, True, False, False]])
    >>> is_background = ops.array([[True, False, False, True]])
    >>> keys = random_keys((1, 4), keras.random.SeedGenerator(0))
    >>> indices, chosen = sample(is_object, is_background, 4, 2, keys)
    >>> int(indices[0, 0]), [bool(x) for x in chosen[0]]
    (1, [True, True, True, False])
    """
    of_objects = ops.where(is_object, keys, -1.0)
    best, _ = top_k(of_objects, max_objects)
    chosen_objects = is_object & (of_objects >= best[:, -1:])
    keys = ops.where(
        chosen_objects, keys + 2, ops.where(is_background, keys, -1.0)
    )
    keys, indices = top_k(keys, number)
    return indices, keys >= 0


def random_keys(shape, seed):
    """Random numbers from 0 to 1, the higher the sooner a box is chosen.

    Those of an image are the same, whichever replica has it.
    """
    number, replicas = replica()
    if replicas == 1:
        return keras.random.uniform(shape, seed=seed)
    images, *others = shape
    keys = keras.random.uniform((replicas * images, *others), seed=seed)
    return keys[number * images : (number + 1) * images]
