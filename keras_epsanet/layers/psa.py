"""Pyramid split attention: the paper's module."""

import collections

import keras
from keras import ops

from keras_epsanet.integers import is_integer, python_integers
from keras_epsanet.layers.composite import CompositeLayer
from keras_epsanet.layers.se_weight import SEWeight
from keras_epsanet.layers.spc import SPC, check_pyramid
from keras_epsanet.ops.channel_scaling import scale_channels


@keras.saving.register_keras_serializable(package="keras_epsanet")
class PSA(CompositeLayer):
    """Pyramid split attention (equations 6 to 11).

    Features of several scales come from `SPC`; one `SEWeight`, shared by
    the scales, weighs every channel of every scale; a softmax lets the
    scales compete, channel by channel; each scale is multiplied with its
    attention. It takes the place of a 3×3 convolution of at least 64
    filters; narrower ones need smaller `groups` and `reduction`.

    Args:
        filters: Integer, number of output channels, divisible by the number
            of scales S.
        kernel_sizes: Odd positive integers, one for each scale, in pixels.
        groups: Integers, one for each scale; `None` means equation 3:
            `(1, 4, 8, 16)` for the default kernels.
        strides: Positive integer or pair of them, in pixels.
        reduction: Integer, factor by which `SEWeight` narrows the channels
            of a scale; at most `filters / S`.
        split_input: Whether scale i sees the i-th part of the input
            channels (equation 4 as printed) instead of all.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        layout: Layout in which the convolutions are computed, as in `SPC`.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and
            `kernel_constraint` of all convolutions and of `SEWeight`, as in
            `GroupedConv2D`, and the arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`.
        return_attention: Whether the attention is returned as well.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`. With
        `return_attention=True` a pair of this and the attention,
        `(N, S, filters / S)`, which sums to 1 over the scales.

    Raises:
        ValueError: For the reasons of `SPC`, if `reduction` is not positive
            or larger than `filters / S`, or for the arguments of a `Conv2D`.

    Example:

    >>> psa = PSA(64)
    >>> x = keras.random.normal((2, 8, 8, 64))
    >>> y, attention = psa(x, return_attention=True)
    >>> y.shape == (2, 8, 8, 64), attention.shape == (2, 4, 16)
    (True, True)

    Reference: section 3.3 and equations 6 to 11 of
    [EPSANet](https://arxiv.org/abs/2105.14447).
    """

    def __init__(
        self,
        filters,
        kernel_sizes=(3, 5, 7, 9),
        groups=None,
        strides=1,
        reduction=16,
        split_input=False,
        data_format=None,
        layout=None,
        **kwargs,
    ):
        _refuse_convolution(kernel_sizes, kwargs)
        super().__init__(**kwargs)
        self.kernel_sizes, self.groups = check_pyramid(
            filters, kernel_sizes, groups, reduction
        )
        self.filters = int(filters)
        self.strides = python_integers(strides)
        self.reduction = int(reduction)
        self.split_input = split_input
        self.spc = self.make_sublayer(
            SPC,
            "spc",
            filters=self.filters,
            kernel_sizes=self.kernel_sizes,
            groups=self.groups,
            strides=self.strides,
            split_input=split_input,
            data_format=data_format,
            layout=layout,
            **self.kernel_arguments(0),
        )
        self.se = self.make_sublayer(
            SEWeight,
            "se",
            reduction=self.reduction,
            data_format=data_format,
            **self.kernel_arguments(1),
        )
        self.data_format = self.spc.data_format
        self.layout = self.spc.layout
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        self.spc.build(input_shape)
        self.se.build(self._scale_shape(input_shape))

    def _scale_shape(self, input_shape):
        shape = list(self.spc.compute_output_shape(input_shape))
        axis = -1 if self.data_format == "channels_last" else 1
        shape[axis] = self.spc.scale_filters
        return tuple(shape)

    def call(self, inputs, return_attention=False):
        features = self.spc(inputs)
        # Equations 6 and 7: Z = Cat([Z0, ..., ZS-1]), Zi = SEWeight(Fi). The
        # scales lie side by side, so that one mean serves all of them.
        descriptors = ops.reshape(
            self.se.squeeze(features),
            (-1, len(self.kernel_sizes), self.spc.scale_filters),
        )
        attention = self.compete(self.excite(descriptors))
        # Equations 10 and 11: Y = Cat([F0 * att0, ..., FS-1 * attS-1]).
        factors = ops.reshape(attention, (-1, self.filters))
        outputs = self.weigh(features, factors)
        return (outputs, attention) if return_attention else outputs

    def excite(self, descriptors):
        """Equation 7: the weights of all scales, `(N, S, filters / S)`."""
        return self.se.excite(descriptors)

    def compete(self, weights):
        """Equations 8 and 9: softmax over the scales, `(N, S, filters / S)`."""
        # (LiteRT refuses to divide by an int8 of 0, whatever number it stands
        # for.) That over a single scale is 1 and its gradient 0; Keras warns
        # of either operation, and of weights without any gradient.
        if len(self.kernel_sizes) == 1:
            return 0 * weights + 1
        return ops.softmax(weights, axis=1)

    def weigh(self, features, factors):
        """Multiplies every channel of an image, `(N, filters)` factors."""
        if self.data_format == "channels_last":
            factors = factors[:, None, None, :]
        else:
            factors = factors[:, :, None, None]
        return scale_channels(features, factors)

    def compute_output_shape(self, input_shape):
        return self.spc.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, return_attention=False):
        outputs = keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )
        if not return_attention:
            return outputs
        shape = (
            inputs.shape[0],
            len(self.kernel_sizes),
            self.spc.scale_filters,
        )
        return outputs, keras.KerasTensor(shape, dtype=self.compute_dtype)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        counts = collections.Counter(self.spc.count_operations(input_shape))
        for _ in self.kernel_sizes:
            counts.update(
                self.se.count_operations(self._scale_shape(input_shape))
            )
        return dict(counts)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "filters": self.filters,
                "kernel_sizes": self.kernel_sizes,
                "groups": self.groups,
                "strides": self.strides,
                "reduction": self.reduction,
                "split_input": self.split_input,
                "data_format": self.data_format,
            }
        )
        if self.layout is not None:
            config["layout"] = self.layout
        return config


def _refuse_convolution(kernel_sizes, arguments):
    """Raises for the arguments of the `Conv2D` whose place a PSA takes."""
    given = {
        name: arguments[name]
        for name in ("kernel_size", "padding")
        if name in arguments
    }
    if is_integer(kernel_sizes):
        given = {"kernel_sizes": kernel_sizes, **given}
    if given:
        received = ", ".join(f"{k}={value!r}" for k, value in given.items())
        raise ValueError(
            "PSA takes the place of a Conv2D without its kernel size and its "
            'padding, which is always "same": `kernel_sizes` is a tuple with '
            "one for each scale, (3, 5, 7, 9) by default. "
            f"Received: {received}"
        )
