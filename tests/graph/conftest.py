"""What the tests of replaced convolutions share."""

import keras
import numpy as np
import pytest

from keras_epsanet.layers import PSA


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


@pytest.fixture
def embed():
    """Function that makes the PSA modules of a model compute what they replace.

    Each gets the kernel of the convolution of its name in the model before,
    and equal attention. Its groups must be 1.
    """

    def embed_all(new, model):
        originals = {layer.name: layer for layer in model._flatten_layers()}
        found = [x for x in new._flatten_layers() if isinstance(x, PSA)]
        assert found
        for psa in found:
            kernel = array(originals[psa.name].kernel)
            parts = np.split(4 * kernel, 4, axis=-1)
            for convolution, part in zip(psa.spc.convolutions, parts):
                rim = convolution.kernel_size[0] // 2 - 1
                rims = [(rim, rim), (rim, rim), (0, 0), (0, 0)]
                convolution.kernel.assign(np.pad(part, rims))
            psa.se.fc2.kernel.assign(0 * array(psa.se.fc2.kernel))
            psa.se.fc2.bias.assign(0 * array(psa.se.fc2.bias))
        return new

    return embed_all


@pytest.fixture
def assert_same_calls():
    """Function that compares what two models make of the same inputs."""

    def compare(new, model, x, atol=1e-5):
        pairs = zip(
            keras.tree.flatten(new(x)),
            keras.tree.flatten(model(x)),
            strict=True,
        )
        for y, expected in pairs:
            y, expected = array(y), array(expected)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(y, expected, rtol=0, atol=atol * scale)

    return compare
