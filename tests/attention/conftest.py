import inspect
import pathlib
import sys

import keras
import numpy as np
import pytest
from keras.src.backend.common import dtypes

# For the modules that tests of this folder share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from arguments import ARGUMENTS  # noqa: E402
from running import FORMATS, compiled, convert, revert  # noqa: E402

SHAPE = (2, 5, 6, 16)


@pytest.fixture
def draw_weights():
    """Function that gives every weight of a built layer a random value."""

    def draw(layer):
        random = np.random.default_rng(1)
        for weight in layer.weights:
            values = random.standard_normal(weight.shape)
            if weight.name == "moving_variance":
                values = random.uniform(0.5, 1.5, weight.shape)
            elif len(weight.shape) > 1:
                values /= np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(values)
        return layer

    return draw


@pytest.fixture
def float64(monkeypatch):
    """Lets Keras compute 64 bits as they are, as it does on TensorFlow.

    On the other backends it casts to 32 bits in between, in `ops.mean`,
    `ops.matmul` and its layers of normalization among others.
    """
    monkeypatch.setattr(dtypes, "BIT64_TO_BIT32_DTYPE", {})


@pytest.fixture
def check_equation(draw_weights, float64):
    """Function that compares a layer with an equation in both data formats.

    `check(make, equation, shape, dtype)` gives `make(dtype, data_format)`
    random weights and compares it with `equation(images, layer)`.
    """

    def check(make, equation, shape, dtype):
        images = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        formats = FORMATS
        if keras.backend.backend() == "jax":  # One for each precision.
            formats = FORMATS[:1] if dtype == "float32" else FORMATS[1:]
        for data_format in formats:
            layer = make(dtype=dtype, data_format=data_format)
            x = convert(images, data_format)
            layer.build(x.shape)
            draw_weights(layer)
            expected = equation(images.astype("float64"), layer)
            result = compiled(layer)(x)
            assert keras.backend.standardize_dtype(result.dtype) == dtype
            result = revert(result, data_format)
            assert result.shape == expected.shape
            tolerance = {"float32": 1e-6, "float64": 1e-12}[dtype]
            error = np.abs(result - expected).max()
            assert error <= tolerance * np.abs(expected).max()

    return check


def pytest_generate_tests(metafunc):
    """Two sizes, one of them no square, in two precisions."""
    if "dtype" in metafunc.fixturenames and "size" in metafunc.fixturenames:
        cases = [("float32", (9, 7)), ("float64", (6, 6))]
        if keras.backend.backend() != "jax":  # Which compiles each of them.
            cases += [("float32", (6, 6)), ("float64", (9, 7))]
        metafunc.parametrize("dtype, size", cases)


@pytest.fixture
def check_contract():
    """Function that checks what all layers do with their arguments.

    `check(cls, **defaults)` says what the arguments of a class are by
    default.
    """

    def check(cls, **defaults):
        parameters = inspect.signature(cls.__init__).parameters.values()
        assert defaults == {
            x.name: x.default
            for x in parameters
            if x.default is not x.empty and x.name != "data_format"
        }
        given = ARGUMENTS[cls]
        config = cls(**given).get_config()
        copy = cls.from_config(config)
        for name, value in given.items():
            assert config[name] == getattr(copy, name) == value, name
        found = [
            _counts_and_shapes(cls, data_format) for data_format in FORMATS
        ]
        assert found[0] == found[1]
        _check_sublayers(cls(**given, trainable=False, dtype="mixed_bfloat16"))
        if cls.has_kernels:
            layer = cls(**given, kernel_regularizer="l2")
            layer.build(convert(np.empty(SHAPE), layer.data_format).shape)
            kernels = [w for w in layer.weights if w.name == "kernel"]
            assert len(layer.losses) == len(kernels) > 0
        _check_training(cls(**given, data_format="channels_last"))

    return check


def _counts_and_shapes(cls, data_format):
    """Operations and shapes of channels-last images, whatever the layer's."""
    layer = cls(**ARGUMENTS[cls], data_format=data_format)
    shape = convert(np.empty(SHAPE), data_format).shape
    layer.build(shape)
    shapes = layer.compute_output_shape(shape)
    shapes = [shapes] if isinstance(shapes[0], int) else shapes
    shapes = [revert(np.empty(x), data_format).shape for x in shapes[:1]]
    return layer.count_operations(shape), shapes


def _check_sublayers(layer):
    layer.build(convert(np.empty(SHAPE), layer.data_format).shape)
    assert not layer.trainable_weights
    for part in layer._flatten_layers(include_self=False):
        assert part.dtype_policy.name == "mixed_bfloat16", part.name


def _check_training(layer):
    """Statistics are those of the batch in training alone."""
    layer.build(SHAPE)
    random = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(random.standard_normal(weight.shape))
    moving = [w for w in layer.weights if w.name.startswith("moving_")]
    before = [keras.ops.convert_to_numpy(w) for w in moving]
    x = 3 + np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
    run = [compiled(layer, training=False), compiled(layer, training=True)]
    for function, changes in zip(run if moving else [], (False, True)):
        function(x)
        for weight, former in zip(moving, before):
            now = keras.ops.convert_to_numpy(weight)
            assert np.any(now != former) == changes, weight.path
