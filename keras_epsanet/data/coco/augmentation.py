"""Random changes of images in which boxes and masks follow."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_epsanet.data.coco.transforms import padded_size, resized_size
from keras_epsanet.integers import is_positive

# A crop has this share of each side at least.
_LEAST_SHARE = 0.5
_ATTEMPTS = 10
# As in MMDetection's `PhotoMetricDistortion`.
_BRIGHTNESS, _FACTORS, _HUE = 32 / 255, (0.5, 1.5), 18 / 360


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What changes the images of a training at random, besides flips.

    The order is that of the arguments, with the size last. What is drawn is a
    function of the seed, the epoch and the number of the image.

    Args:
        function: Function of one's own of `(image, boxes, labels, masks,
            random)` that returns the first four: uint8 `(height, width, 3)`,
            float32 `(objects, 4)`, corners in pixels, int32 `(objects,)` and
            uint8 `(objects, height, width)`, 0 or 1, or `None` if no masks
            are learned. `random` is a `numpy.random.Generator`.
        crop: Whether half of the images are cut down to a half to the whole
            of each side, in which the center of an object is at least.
            Objects whose centers are outside are left out.
        photometric: Whether brightness, contrast, saturation and hue change,
            as far as in MMDetection's `PhotoMetricDistortion`.
        least_image_size: Integer; the shorter side is drawn from it to the
            first number of `image_size`, such as 640 to 800 in MMDetection's
            trainings on several scales. `None` for always the latter.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> augmentation = Augmentation(crop=True, least_image_size=640)
    >>> size = augmentation.draw_size(
    ...     (480, 640), (800, 1333), np.random.default_rng(0)
    ... )
    >>> 640 <= min(size) <= 800
    True
    """

    function: Callable | None = None
    crop: bool = False
    photometric: bool = False
    least_image_size: int | None = None

    def __post_init__(self):
        if self.function is not None and not callable(self.function):
            raise ValueError(
                "`function` must be a function or None. "
                f"Received: function={self.function}"
            )
        least = self.least_image_size
        if least is not None and not is_positive(least):
            raise ValueError(
                "`least_image_size` must be a positive integer or None. "
                f"Received: least_image_size={least}"
            )

    def apply(self, image, boxes, labels, masks, random):
        """Changes one image with its objects, as `function` does.

        Raises:
            ValueError: If `function` returns something else.
        """
        objects = boxes, labels, masks
        if self.function is not None:
            found = self.function(image, *objects, random)
            image, *objects = _checked(found, masks is not None)
        if self.crop and random.random() < 0.5:
            image, *objects = crop_image(image, *objects, random)
        return image, *objects

    def draw_size(self, sides, image_size, random):
        """Draws the size that an image is resized to.

        Args:
            sides: Pair of integers, height and width before.
            image_size: Pair of integers, as in `keras_epsanet.data.coco.load`.
            random: `numpy.random.Generator`.

        Returns:
            Pair of integers, height and width.
        """
        shorter, longer = image_size
        if self.least_image_size is not None:
            shorter = random.integers(self.least_image_size, shorter + 1)
        return resized_size(sides, (shorter, longer))

    def changes(self, image_size, pad_to, seed):
        """Returns the function that changes the image of a number.

        Args:
            image_size, pad_to, seed: As in `keras_epsanet.data.coco.load`.

        Returns:
            Function that `Table.read_augmented` takes.
        """

        def change(image, boxes, labels, masks, number):
            random = np.random.default_rng((seed, number))
            found = self.apply(image, boxes, labels, masks, random)
            size = self.draw_size(found[0].shape[:2], image_size, random)
            return *found, size, padded_size(size, pad_to)

        return change


def check_augmentation(augmentation, training, image_size, pad_to):
    """Raises if images cannot be changed in this way.

    Args:
        augmentation: `Augmentation` or `None`.
        training, image_size, pad_to: As in `keras_epsanet.data.coco.load`.

    Raises:
        ValueError: With the reason.
    """
    if augmentation is None:
        return
    if not training:
        raise ValueError(
            "Images are changed in training only. "
            f"Received: augmentation={augmentation}, training=False"
        )
    least = augmentation.least_image_size
    if least is not None and least > image_size[0]:
        raise ValueError(
            "`least_image_size` must not be more than the shorter side. "
            f"Received: least_image_size={least}, image_size={image_size}"
        )
    if not isinstance(pad_to, int) and min(pad_to) < image_size[1]:
        raise ValueError(
            "With an augmentation any side may be the longer one. "
            f"Received: pad_to={pad_to}, image_size={image_size}"
        )


def crop_image(image, boxes, labels, masks, random):
    """Cuts a part out of an image, in which there is an object.

    Args:
        image, boxes, labels, masks, random: As in `Augmentation`.

    Returns:
        The first four of them; as they were if no part was found.
    """
    height, width = image.shape[:2]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for _ in range(_ATTEMPTS):
        shares = random.uniform(_LEAST_SHARE, 1, 2)
        size = np.maximum(1, (shares * (width, height)).astype(int))
        start = random.integers(0, np.array((width, height)) - size + 1)
        end = start + size
        kept = ((start <= middles) & (middles < end)).all(1)
        cut = np.clip(boxes - np.tile(start, 2), 0, np.tile(size, 2))
        kept &= (cut[:, 2:] - cut[:, :2] >= 1).all(1)
        columns, rows = (slice(*x) for x in zip(start, end))
        if masks is not None:
            kept &= masks[:, rows, columns].any((1, 2))
        if kept.any():
            parts = image[rows, columns], cut[kept].astype("float32")
            if masks is not None:
                masks = masks[kept, rows, columns]
            return *parts, labels[kept], masks
    return image, boxes, labels, masks


def distort_colors(image, key):
    """Changes brightness, contrast, saturation and hue at random.

    Args:
        image: Tensor uint8 `(height, width, 3)`.
        key: Tensor int64 `(2,)`.

    Returns:
        Tensor float32 from 0 to 255.
    """
    import tensorflow as tf

    keys = tf.random.experimental.stateless_split(key, 4)
    image = tf.cast(image, "float32") / 255
    image = tf.image.stateless_random_brightness(image, _BRIGHTNESS, keys[0])
    image = tf.image.stateless_random_contrast(image, *_FACTORS, keys[1])
    image = tf.clip_by_value(image, 0.0, 1.0)
    image = tf.image.stateless_random_saturation(image, *_FACTORS, keys[2])
    image = tf.image.stateless_random_hue(image, _HUE, keys[3])
    return 255 * tf.clip_by_value(image, 0.0, 1.0)


def _checked(found, has_masks):
    """What a function of the user returned, or an error that says what."""
    try:
        image, boxes, labels, masks = found
        image, boxes = np.asarray(image), np.asarray(boxes, "float32")
        labels = np.asarray(labels, "int32").reshape(-1)
        boxes = boxes.reshape(-1, 4)
        masks = np.asarray(masks, "uint8") if has_masks else None
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`function` must return an image, boxes, labels and masks. "
            f"Received: {type(found).__name__}, {error}"
        ) from error
    shapes = [image.shape, boxes.shape, labels.shape]
    fits = image.dtype == "uint8" and image.ndim == 3 and image.shape[2] == 3
    fits &= len(boxes) == len(labels)
    if has_masks:
        if not len(boxes):
            masks = np.zeros((0, *image.shape[:2]), "uint8")
        shapes.append(masks.shape)
        fits &= masks.shape == (len(boxes), *image.shape[:2])
    if not fits or not image.size:
        raise ValueError(
            "`function` must return a uint8 image (height, width, 3), boxes "
            "(objects, 4), labels (objects,) and masks (objects, height, "
            f"width). Received: {image.dtype} and the shapes {shapes}"
        )
    sides = np.tile(np.array(image.shape[1::-1], "float32"), 2)
    boxes = np.clip(boxes, 0, sides)
    # As of annotation files: no detector could learn thinner ones.
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    masks = masks[kept] if has_masks else None
    return image, boxes[kept], labels[kept], masks
