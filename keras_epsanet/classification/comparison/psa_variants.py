"""PSA without one of its parts: what each of them is worth."""

import keras
from keras import ops

from keras_epsanet.layers import PSA, SEWeight
from keras_epsanet.paper import TABLE_5


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SigmoidPSA(PSA):
    """PSA whose scales do not compete: no softmax behind the sigmoid.

    Equations 8 and 9 are left out; every channel of every scale is multiplied
    with its own weight in (0, 1). As many parameters as PSA.

    Args:
        filters: As of `PSA`, and so are all other arguments.

    Example:

    >>> layer = SigmoidPSA(64)
    >>> x = keras.ops.full((2, 8, 8, 64), 0.1)
    >>> _, attention = layer(x, return_attention=True)
    >>> bool(keras.ops.all(attention < 1))
    True
    """

    def compete(self, weights):
        return weights


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SeparatePSA(PSA):
    """PSA with an `SEWeight` for each scale instead of one for all of them.

    Args:
        filters: As of `PSA`, and so are all other arguments.

    Example:

    >>> layers = PSA(64), SeparatePSA(64)
    >>> for layer in layers:
    ...     layer.build((2, 8, 8, 64))
    >>> [layer.count_params() for layer in layers]
    [27121, 27268]
    """

    def __init__(self, filters, *args, **kwargs):
        super().__init__(filters, *args, **kwargs)
        # The first scale has the one that PSA has.
        self.others = [
            self.make_sublayer(
                SEWeight,
                f"se_{i}",
                reduction=self.reduction,
                data_format=self.data_format,
                **self.kernel_arguments(i),
            )
            for i in range(2, len(self.kernel_sizes) + 1)
        ]

    def build(self, input_shape):
        super().build(input_shape)
        for layer in self.others:
            layer.build(self._scale_shape(input_shape))

    def excite(self, descriptors):
        layers = [self.se, *self.others]
        return ops.stack(
            [layer.excite(descriptors[:, i]) for i, layer in enumerate(layers)],
            axis=1,
        )


def _plain(**arguments):
    return lambda channels, stage: PSA(channels, **arguments)


def _kind(kind):
    return lambda channels, stage: kind(channels)


# By the names of the comparison; `"psa"` itself has kernels of 3, 5, 7 and 9
# pixels with 1, 4, 8 and 16 groups.
PSA_VARIANTS = {
    "psa_kernels_3": _plain(kernel_sizes=(3, 3, 3, 3), groups=(1, 4, 8, 16)),
    "psa_kernels_3_5": _plain(kernel_sizes=(3, 5), groups=(1, 4)),
    "psa_groups_4": _plain(groups=TABLE_5[0]),
    "psa_groups_16": _plain(groups=TABLE_5[1]),
    "psa_sigmoid": _kind(SigmoidPSA),
    "psa_separate_se": _kind(SeparatePSA),
    "psa_split_input": _plain(split_input=True),
}
