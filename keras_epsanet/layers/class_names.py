"""The names of the classes, kept in the model."""

import keras
import numpy as np

from keras_epsanet.layers.resizing import free_training


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ClassNames(keras.layers.Layer):
    """Passes predictions on and knows the names of their classes.

    As the last layer of a classifier it carries the names into the `.keras`
    file, so that whoever loads it can tell what is predicted. Where a
    `keras.layers.Resizing` is before it, which makes a model train whenever
    it is called, that becomes a `keras_epsanet.layers.Resizing`: files that
    were written with Keras' layer are repaired as they are loaded.

    Args:
        names: Strings, the name of every class.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, len(names))`.

    Output shape:
        The same.

    Raises:
        ValueError: If `names` is empty or has anything but strings, or if
            the predictions have another number of classes.

    Example:

    >>> layer = ClassNames(["cat", "dog"])
    >>> predictions = layer(keras.ops.array([[0.25, 0.75]]))
    >>> layer.decode(predictions)
    [[('dog', 0.75), ('cat', 0.25)]]
    """

    def __init__(self, names, **kwargs):
        super().__init__(**kwargs)
        if (
            isinstance(names, str)
            or not names
            or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError(
                "`names` must be a list of strings, one for each class. "
                f"Received: names={names!r}"
            )
        self.names = tuple(names)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, input_shape):
        self._check_shape(input_shape)
        self.input_spec = keras.layers.InputSpec(
            ndim=2, axes={-1: len(self.names)}
        )

    def _check_shape(self, shape):
        if len(shape) != 2 or shape[-1] != len(self.names):
            raise ValueError(
                f"Predictions must have the shape (N, {len(self.names)}), "
                "a column for each of `names`. "
                f"Received: shape {tuple(shape)}, names={self.names!r}"
            )

    def call(self, inputs):
        return inputs

    def compute_output_spec(self, inputs):
        free_training(inputs)
        return super().compute_output_spec(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def decode(self, predictions, top=5):
        """Names the most probable classes.

        Args:
            predictions: Array or tensor `(N, len(names))` of probabilities.
            top: Positive integer, number of classes to return for each
                image; never more than there are.

        Returns:
            A list for each image of `(name, probability)`, the most
            probable first.

        Raises:
            ValueError: If `predictions` has another shape or `top` is not
                positive.
        """
        predictions = keras.ops.convert_to_numpy(predictions)
        self._check_shape(predictions.shape)
        if not isinstance(top, int) or top < 1:
            raise ValueError(
                f"`top` must be a positive integer. Received: top={top!r}"
            )
        order = np.argsort(-predictions, axis=-1, kind="stable")[:, :top]
        return [
            [(self.names[i], float(row[i])) for i in indices]
            for row, indices in zip(predictions, order)
        ]

    def get_config(self):
        return {**super().get_config(), "names": list(self.names)}
