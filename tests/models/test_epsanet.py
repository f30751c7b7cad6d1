import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANet, EPSANet50Small

TINY = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (16, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


def tiny(**kwargs):
    return EPSANet(**{**TINY, "classes": 7, **kwargs})


def test_default_shapes_with_and_without_classifier():
    assert tiny().input_shape == (None, 224, 224, 3)
    model = tiny(include_top=False)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, 128)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_dynamic_sizes_give_the_same_as_static_ones(size):
    static = tiny(input_shape=(*size, 3))
    dynamic = tiny(input_shape=(None, None, 3))
    dynamic.set_weights(static.get_weights())
    x = np.random.default_rng(0).standard_normal((2, *size, 3))
    np.testing.assert_allclose(
        static.predict(x, verbose=0), dynamic.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("pooling, shape", [("avg", 2), ("max", 2), (None, 4)])
def test_pooling(pooling, shape):
    x = np.random.default_rng(0).standard_normal((1, 40, 40, 3))
    features = tiny(include_top=False)
    pooled = tiny(include_top=False, pooling=pooling)
    pooled.set_weights(features.get_weights())
    expected = features.predict(x, verbose=0)
    if pooling:
        reduce = np.mean if pooling == "avg" else np.max
        expected = reduce(expected, axis=(1, 2))
    y = pooled.predict(x, verbose=0)
    assert y.ndim == shape
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_input_tensor_may_follow_other_layers():
    image = keras.Input((40, 40, 1))
    model = tiny(input_tensor=keras.layers.Concatenate()([image] * 3))
    assert model.input_shape == (None, 40, 40, 1)
    plain = tiny(input_shape=(40, 40, 3))
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).standard_normal((1, 40, 40, 1))
    np.testing.assert_allclose(
        model.predict(x, verbose=0),
        plain.predict(np.repeat(x, 3, axis=-1), verbose=0),
        atol=1e-6,
    )


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_number_of_input_channels(channels):
    model = tiny(input_shape=(32, 32, channels))
    assert model.get_layer("conv1_conv").kernel.shape[2] == channels


def test_channels_first_equals_channels_last(randomize):
    last = tiny(input_shape=(40, 36, 3), data_format="channels_last")
    first = tiny(input_shape=(3, 40, 36), data_format="channels_first")
    randomize(last)
    first.set_weights(last.get_weights())
    x = np.random.default_rng(0).standard_normal((2, 40, 36, 3))
    np.testing.assert_allclose(
        first.predict(x.transpose(0, 3, 1, 2), verbose=0),
        last.predict(x, verbose=0),
        atol=1e-5,
    )


def test_classifier_starts_as_pytorch_does():
    dense = tiny(classes=1000).get_layer("predictions")
    bound = 128**-0.5
    for values in dense.get_weights():
        assert 0.97 * bound < np.abs(values).max() <= bound
        assert abs(values.var() / (bound**2 / 3) - 1) < 0.15


def test_every_layer_has_the_dtype_policy():
    model = tiny(dtype="mixed_bfloat16")
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            assert layer.dtype_policy.name == "mixed_bfloat16", layer.name
    assert all(w.dtype == "float32" for w in model.weights)


def test_arguments_are_those_of_resnet50():
    ours = inspect.signature(EPSANet50Small).parameters
    theirs = inspect.signature(keras.applications.ResNet50).parameters
    assert list(ours)[:-1] == list(theirs)
    for name, parameter in theirs.items():
        if name not in ("weights", "name"):
            assert ours[name].default == parameter.default, name
    assert ours["weights"].default is None


def test_layer_names_follow_keras_applications():
    names = {layer.name for layer in EPSANet50Small(classes=2).layers}
    resnet = keras.applications.ResNet50(weights=None)
    for layer in resnet.layers:
        name = layer.name
        if "_2_conv" in name:
            name = name.replace("_2_conv", "_psa")
        if "pad" in name and name.startswith("conv1"):
            continue  # The convolution pads by itself.
        if not name.startswith("input_layer"):
            assert name in names


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (31, 64, 3)}, r"at least 32 .*\(31, 64, 3\)"),
        ({"input_shape": (224, 224)}, r"3 entries.*\(224, 224\)"),
        ({"input_shape": 224}, "3 entries.*input_shape=224"),
        ({"input_shape": (64, 64, None)}, "channels must be known"),
        ({"pooling": "mean"}, '"avg" or "max". Received: pooling=mean'),
        ({"classes": 0}, "positive integer. Received: classes=0"),
        ({"classes": "ten"}, "positive integer. Received: classes=ten"),
        ({"stackwise_num_blocks": (1,)}, "one entry for each stage"),
        ({"data_format": "NHWC"}, "data_format=nhwc"),
        ({"reduction": 9}, "reduction=8 would fit"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tiny(**arguments)


def test_wrong_rank_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="expected (shape|ndim|min_ndim)"):
        tiny(input_shape=(32, 32, 3))(ops.ones((32, 32, 3)))


def test_synchronized_reaches_every_batch_normalization():
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(ValueError, match="synchronized"):
            tiny(synchronized=True)
        return
    model = tiny(synchronized=True)
    layers = [x for x in model.layers if x.name.endswith("_bn")]
    assert layers and all(layer.synchronized for layer in layers)
