import pathlib
import sys

import keras
import numpy as np
import pytest
from keras.src.backend.common import dtypes

# For the modules that tests of this folder share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from running import FORMATS, compiled, convert, revert  # noqa: E402


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
