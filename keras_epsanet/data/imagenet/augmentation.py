"""Keras' augmentations, with randomness that is a function of a key."""

import functools

import keras

# Of single images and of batches.
IMAGE_LAYERS = {
    "rand_augment": "RandAugment",
    "random_erasing": "RandomErasing",
}
BATCH_LAYERS = {"mix_up": "MixUp", "cut_mix": "CutMix"}


class Augmentations:
    """Layers of `keras.layers` that keep no state.

    First those of single images, then those of batches. RandAugment applies
    its operations to single images, whereas on a batch Keras' layer would
    choose the same ones for all.

    Args:
        names: Names among `"rand_augment"`, `"random_erasing"`, `"mix_up"`
            and `"cut_mix"`, or a dictionary from the names to dictionaries
            of the arguments of `RandAugment`, `RandomErasing`, `MixUp` and
            `CutMix` of `keras.layers`.

    Raises:
        ValueError: If a name is unknown, or a layer does not take its
            arguments.
    """

    def __init__(self, names):
        known = IMAGE_LAYERS | BATCH_LAYERS
        if isinstance(names, str) or not all(x in [*known] for x in names):
            raise ValueError(
                f"`augmentations` must be names among {', '.join(known)}. "
                f"Received: augmentations={names!r}"
            )
        arguments = names if isinstance(names, dict) else {}
        try:
            layers = {
                name: _make_layer(name, known[name], arguments.get(name, {}))
                for name in names
            }
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`augmentations` cannot be made: {error}. "
                f"Received: augmentations={names!r}"
            ) from error
        self._image_layers = [
            layer for name, layer in layers.items() if name in IMAGE_LAYERS
        ]
        self._batch_layers = [
            layer for name, layer in layers.items() if name in BATCH_LAYERS
        ]
        self._any = bool(layers)

    def image(self, image, key):
        """Augments an image `(height, width, 3)`.

        Args:
            image: Tensor, RGB from 0 to 255.
            key: Tensor int64 `(2,)`, which decides everything random.

        Returns:
            The image, float32 if there are layers.
        """
        import tensorflow as tf

        keys = _Keys(key)
        if self._any:
            image = tf.cast(image, "float32")
        for layer in self._image_layers:
            image = _apply(layer, keys, image[None])[0]
        return image

    def batch(self, images, labels, key):
        """Augments images `(n, height, width, 3)` and one-hot labels."""
        keys = _Keys(key)
        for layer in self._batch_layers:
            batch = {"images": images, "labels": labels}
            batch = _apply(layer, keys, batch)
            images, labels = batch["images"], batch["labels"]
        return images, labels


class _Keys(keras.random.SeedGenerator):
    """Gives keys that follow from one key instead of a variable."""

    def __init__(self, key):
        # Without a variable, which super().__init__ would make.
        self._key = key
        self._count = 0

    def next(self, ordered=True):
        import tensorflow as tf

        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._key, self._count)


class _RandAugment(keras.layers.RandAugment):
    """Computes the chosen operations only; Keras computes all of them."""

    def transform_images(self, images, transformation, training=True):
        import tensorflow as tf

        transforms = transformation["transforms"]
        for i in range(self.num_ops):
            images = tf.switch_case(
                transformation["layer_idxes"][i],
                [
                    functools.partial(
                        _operate, getattr(self, name), images, values
                    )
                    for name, values in transforms.items()
                ],
            )
        return images


def _operate(layer, images, values):
    import tensorflow as tf

    outputs = layer.transform_images(images, values)
    return tf.ensure_shape(outputs, images.shape)


def _make_layer(name, class_name, arguments):
    layer = getattr(keras.layers, class_name)
    if layer is keras.layers.RandAugment:
        layer = _RandAugment
    # A seed, though keys take its place: without one Keras draws it from the
    # numbers that the initial weights come from.
    arguments = {"seed": 0, **arguments}
    # In full precision whatever the policy of the model that is trained.
    return layer(
        name=name, dtype="float32", data_format="channels_last", **arguments
    )


def _apply(layer, keys, inputs):
    # All that Keras' layers draw from comes from this method; their own
    # generators are variables that a resumed run would not have.
    layer._get_seed_generator = lambda backend=None: keys
    return layer(inputs)
