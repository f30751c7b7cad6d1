"""Bias, what a convolution adds, as a layer of its own."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_epsanet")
class Bias(keras.layers.Layer):
    """Adds a number to each channel.

    It keeps the bias of a convolution that a layer without one, such as
    `PSA`, takes the place of (`keras_epsanet.replace_convolutions`).

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        bias_initializer: Initializer of the bias.
        bias_regularizer: Optional regularizer of the bias.
        bias_constraint: Optional constraint of the bias.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If the number of channels is not known.

    Example:

    >>> layer = Bias(bias_initializer="ones")
    >>> float(layer(keras.ops.zeros((1, 2, 2, 3)))[0, 0, 0, 0])
    1.0
    """

    def __init__(
        self,
        data_format=None,
        bias_initializer="zeros",
        bias_regularizer=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.data_format = (
            data_format or keras.config.image_data_format()
        ).lower()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "`data_format` must be channels_last or channels_first. "
                f"Received: data_format={data_format!r}"
            )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        axis = -1 if self.data_format == "channels_last" else 1
        if input_shape[axis] is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.bias = self.add_weight(
            name="bias",
            shape=(input_shape[axis],),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def call(self, inputs):
        is_last = self.data_format == "channels_last"
        shape = [1, 1, 1, -1] if is_last else [1, -1, 1, 1]
        # As in `GroupedConv2D`: TensorFlow would merge an addition into a
        # grouped convolution, which fails without oneDNN.
        return inputs - ops.reshape(-self.bias, shape)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        return {"biases": math.prod(input_shape[1:])}

    def get_config(self):
        config = super().get_config()
        config.update(
            data_format=self.data_format,
            bias_initializer=keras.initializers.serialize(
                self.bias_initializer
            ),
            bias_regularizer=keras.regularizers.serialize(
                self.bias_regularizer
            ),
            bias_constraint=keras.constraints.serialize(self.bias_constraint),
        )
        return config
