"""What needs no operations of Keras is tested beside every backend."""

import keras
import numpy as np
import pytest

jax = pytest.importorskip("jax")

from keras_epsanet.ops import forms  # noqa: E402
from keras_epsanet.ops.grouped_conv_jax import convolve_jax  # noqa: E402

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 9, 8, 6)).astype("float32")


def expected(kernel, strides, groups):
    """The definition of XLA, which is slow on a CPU."""
    return jax.lax.conv_general_dilated(
        IMAGE,
        kernel,
        strides,
        [(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def make_kernel(height, width, groups):
    shape = (height, width, 6 // groups, 4)
    return RANDOM.standard_normal(shape).astype("float32")


def assert_convolves(kernel, strides, groups, data_format):
    image = jax.numpy.asarray(IMAGE)
    if data_format == "channels_first":
        image = image.transpose(0, 3, 1, 2)
    kernel = jax.numpy.asarray(kernel)
    outputs = convolve_jax(image, kernel, strides, groups, data_format)
    if data_format == "channels_first":
        outputs = outputs.transpose(0, 2, 3, 1)
    wanted = expected(kernel, strides, groups)
    assert outputs.shape == wanted.shape
    np.testing.assert_allclose(outputs, wanted, atol=1e-5)


every_format = pytest.mark.parametrize(
    "data_format", ["channels_last", "channels_first"]
)


@every_format
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_without_groups(size, strides, data_format):
    assert_convolves(make_kernel(*size, 1), strides, 1, data_format)


@every_format
@pytest.mark.parametrize("groups", [1, 2])
def test_accelerators_get_one_convolution(monkeypatch, groups, data_format):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    kernel = make_kernel(3, 5, groups)
    assert_convolves(kernel, (2, 3), groups, data_format)
    traced = jax.make_jaxpr(
        lambda x: convolve_jax(x, kernel, (2, 3), groups, "channels_last")
    )(IMAGE)
    assert [str(x.primitive) for x in traced.eqns] == ["conv_general_dilated"]


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="tiles by operations of Keras"
)
@every_format
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_groups_on_a_cpu(size, strides, data_format):
    assert_convolves(make_kernel(*size, 2), strides, 2, data_format)


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="tiles by operations of Keras"
)
def test_strides_keep_the_last_row_and_column_of_odd_images():
    # Of 17 rows nine are left; in tiles, for a group has three filters.
    image = RANDOM.standard_normal((1, 17, 17, 6)).astype("float32")
    kernel = RANDOM.standard_normal((3, 3, 3, 6)).astype("float32")
    sizes = (9, 9)
    found = forms.find(kernel, (2, 2), 2, sizes, 8)
    assert found.outputs != forms.NO_TILES
    outputs = convolve_jax(image, kernel, (2, 2), 2, "channels_last")
    assert outputs.shape == (1, *sizes, 6)
    wanted = jax.lax.conv_general_dilated(
        image,
        kernel,
        (2, 2),
        [(1, 1), (1, 1)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )
    np.testing.assert_allclose(outputs, wanted, atol=1e-5)
