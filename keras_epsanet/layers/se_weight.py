"""Channel attention weights by squeeze and excitation."""

import keras
from keras import ops

from keras_epsanet.integers import check_positive
from keras_epsanet.layers.composite import CompositeLayer
from keras_epsanet.layers.grouped_conv2d import fan_out_normal


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SEWeight(CompositeLayer):
    """Weight of every channel from the channel means (equations 1 and 2).

    `weights = sigmoid(W1 relu(W0 mean(x)))`, with `mean` over the pixels
    and two fully connected stages (1×1 convolutions) with bias.

    Args:
        reduction: Integer, factor by which the first stage narrows the
            channels; at most the number of channels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and
            `kernel_constraint` of both stages, as in `GroupedConv2D`, and
            the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, 1, 1, C)`, channels-first `(N, C, 1, 1)`, in (0, 1).

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels.

    Example:

    >>> weights = SEWeight(reduction=4)(keras.ops.ones((2, 8, 8, 16)))
    >>> weights.shape == (2, 1, 1, 16)
    True

    Reference: section 3.1 and equations 1 and 2 of
    [EPSANet](https://arxiv.org/abs/2105.14447).
    """

    def __init__(self, reduction=16, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.reduction = check_positive(reduction=reduction)
        self.pool = self.make_sublayer(
            keras.layers.GlobalAveragePooling2D,
            "pool",
            data_format=data_format,
            keepdims=True,
        )
        self.data_format = self.pool.data_format
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if self.reduction > channels:
            raise ValueError(
                "`reduction` must be at most the number of channels, "
                f"{channels}. Received: reduction={self.reduction!r}"
            )
        hidden = channels // self.reduction
        self.fc1 = self._make_stage(1, channels, hidden)
        self.fc2 = self._make_stage(2, hidden, channels)

    def _make_stage(self, number, inputs, outputs):
        # Kernel as every convolution of the network, bias as PyTorch's.
        bound = inputs**-0.5
        stage = self.make_sublayer(
            keras.layers.Dense,
            f"fc{number}",
            units=outputs,
            **self.kernel_arguments(number, default=fan_out_normal()),
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        )
        lora_alpha = stage.lora_alpha
        stage.build((None, inputs))
        stage.lora_alpha = lora_alpha  # Keras loses it when it builds.
        return stage

    @property
    def _channel_axis(self):
        return -1 if self.data_format == "channels_last" else 1

    def squeeze(self, inputs):
        """Equation 1: the mean of every channel, `(N, C)`."""
        pooled = self.pool(inputs)
        return ops.reshape(pooled, (-1, inputs.shape[self._channel_axis]))

    def excite(self, descriptors):
        """Equation 2: weights in (0, 1) for descriptors `(..., C)`."""
        return ops.sigmoid(self.fc2(ops.relu(self.fc1(descriptors))))

    def call(self, inputs):
        weights = self.excite(self.squeeze(inputs))
        if self.data_format == "channels_last":
            return weights[:, None, None, :]
        return weights[:, :, None, None]

    def compute_output_shape(self, input_shape):
        return self.pool.compute_output_shape(input_shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = input_shape[self._channel_axis]
        hidden = self.fc1.units
        return {
            "macs": 2 * channels * hidden,
            "biases": hidden + channels,
            "relus": hidden,
            "pooled": input_shape[1] * input_shape[2] * input_shape[3],
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            {"reduction": self.reduction, "data_format": self.data_format}
        )
        return config
