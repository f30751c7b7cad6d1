"""Two dense layers with a narrow middle, between descriptors of channels."""

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.image_layer import narrowed
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.composite import CompositeLayer


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ChannelMLP(CompositeLayer):
    """`W2 relu(W1 z)`, with `C / reduction` numbers between the two.

    Args:
        reduction: Integer, factor by which the first stage narrows the
            channels; at most the number of channels.
        use_bias: Whether both stages have a bias.
        zero_bias: Whether the biases start at 0 instead of PyTorch's
            uniform numbers.
        **kwargs: Arguments of `CompositeLayer`.

    Input shape:
        `(N, C)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels.
    """

    def __init__(self, reduction=16, use_bias=False, zero_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.reduction = check_positive(reduction=reduction)
        self.use_bias = use_bias
        self.zero_bias = zero_bias

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = narrowed(channels, self.reduction)
        # Without an entry, the biases start as PyTorch's.
        biases = {"bias_initializer": "zeros"} if self.zero_bias else {}
        for number, inputs, units in (
            (1, channels, hidden),
            (2, hidden, channels),
        ):
            stage = make_dense(
                self,
                f"fc{number}",
                number,
                inputs,
                units,
                use_bias=self.use_bias,
                **biases,
            )
            setattr(self, stage.name, stage)

    def call(self, inputs):
        return self.fc2(ops.relu(self.fc1(inputs)))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, hidden = input_shape[-1], self.fc1.units
        return {
            "macs": 2 * channels * hidden,
            "biases": hidden + channels if self.use_bias else 0,
            "relus": hidden,
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            reduction=self.reduction,
            use_bias=self.use_bias,
            zero_bias=self.zero_bias,
        )
        return config
