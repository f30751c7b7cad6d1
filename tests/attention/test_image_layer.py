import keras
import numpy as np
import pytest
from keras import ops
from running import FORMATS, convert

from keras_epsanet.attention.image_layer import (
    ImageLayer,
    narrowed,
)


class Centered(ImageLayer):
    """What is left of the images without the means of the channels."""

    has_kernels = False

    def call(self, inputs):
        return inputs - self.spread(self.mean(inputs))


@pytest.mark.parametrize("data_format", FORMATS)
def test_statistics_of_the_channels(data_format):
    images = np.random.default_rng(0).standard_normal((2, 5, 6, 3))
    x = convert(images.astype("float32"), data_format)
    layer = Centered(data_format=data_format)
    assert layer.channels_of(x.shape) == 3
    assert layer.pixels_of(x.shape) == 30
    x = ops.convert_to_tensor(x)
    for result, expected in (
        (layer.mean(x), images.mean((1, 2))),
        (layer.variance(x), images.var((1, 2))),
        (layer.unbiased_variance(x), images.var((1, 2), ddof=1)),
        (
            layer(x),
            convert(images - images.mean((1, 2))[:, None, None], data_format),
        ),
    ):
        result = ops.convert_to_numpy(result)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    flat = images.reshape(2, 30, 3)
    if data_format == "channels_first":
        flat = flat.swapaxes(1, 2)
    result = ops.convert_to_numpy(layer.flatten(x))
    np.testing.assert_array_equal(result, flat.astype("float32"))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="always known elsewhere"
)
def test_variance_of_a_size_that_is_known_late():
    import tensorflow as tf

    x = np.random.default_rng(0).standard_normal((2, 5, 6, 3))
    layer = Centered(data_format="channels_last")
    spec = tf.TensorSpec((None, None, None, 3), "float64")
    function = tf.function(layer.unbiased_variance, input_signature=[spec])
    np.testing.assert_allclose(function(x), x.var((1, 2), ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(function(x[:, :1, :1]), np.zeros((2, 3)))


def test_the_data_format_is_the_one_of_keras():
    keras.config.set_image_data_format("channels_first")
    try:
        assert Centered().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert Centered().data_format == "channels_last"


def test_a_narrow_part_keeps_a_channel():
    assert narrowed(11, 4) == 2
    assert narrowed(4, 4) == 1
    with pytest.raises(ValueError, match="at most.*4. Received: reduction=5"):
        narrowed(4, 5)
