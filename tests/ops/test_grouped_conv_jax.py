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
    found = forms.find(kernel, (2, 2), 2, sizes, "xla")
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


def definition(image, kernel, strides, groups):
    return jax.lax.conv_general_dilated(
        image,
        kernel,
        strides,
        [(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def chosen(image, kernel, strides, groups):
    return convolve_jax(image, kernel, strides, groups, "channels_last")


# Height, width, kernel, channels of a group, filters of a group, groups and
# strides: with tiles and without, of one group and of several.
every_form = pytest.mark.parametrize(
    "sizes, kernel_size, depths, groups, strides",
    [
        ((9, 8), (3, 3), (3, 5), 1, (2, 2)),
        ((9, 8), (3, 5), (3, 9), 2, (2, 3)),
        ((17, 16), (9, 9), (4, 1), 4, (1, 1)),
        ((16, 17), (7, 7), (3, 2), 2, (1, 1)),
        ((24, 25), (9, 9), (3, 2), 2, (2, 2)),
        ((7, 6), (9, 9), (4, 8), 2, (1, 1)),
        ((7, 6), (9, 9), (4, 8), 2, (2, 2)),
        ((1, 5), (1, 5), (1, 2), 1, (1, 2)),
        ((5, 5), (1, 1), (2, 2), 3, (3, 3)),
    ],
)
needs_keras = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="tiles by operations of Keras"
)


def make_operands(sizes, kernel_size, depths, groups):
    channels, filters = depths
    image = RANDOM.standard_normal((2, *sizes, channels * groups))
    kernel = RANDOM.standard_normal((*kernel_size, channels, filters * groups))
    kernel /= np.prod(kernel.shape[:3]) ** 0.5
    return image.astype("float32"), kernel.astype("float32")


@needs_keras
@every_form
def test_outputs_and_gradients(sizes, kernel_size, depths, groups, strides):
    operands = make_operands(sizes, kernel_size, depths, groups)
    wanted, wanted_gradients = jax.vjp(
        lambda *x: definition(*x, strides, groups), *operands
    )
    found, gradients = jax.vjp(
        lambda *x: chosen(*x, strides, groups), *operands
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    upstream = RANDOM.standard_normal(wanted.shape).astype("float32")
    for x, y in zip(gradients(upstream), wanted_gradients(upstream)):
        np.testing.assert_allclose(x, y, atol=1e-4)


@needs_keras
def test_derivatives_forward_and_of_gradients():
    image, kernel = make_operands((7, 8), (3, 3), (2, 1), 2)

    def derivatives(convolve):
        def loss(kernel):
            return (convolve(image, kernel, (2, 2), 2) ** 3).sum()

        def of_image(image):
            return (convolve(image[None], kernel, (2, 2), 2) ** 3).sum()

        return jax.jit(
            lambda image, kernel: (
                jax.jacfwd(loss)(kernel),
                jax.hessian(loss)(kernel),
                jax.vmap(jax.grad(of_image))(image),
            )
        )(image, kernel)

    for x, y in zip(derivatives(chosen), derivatives(definition)):
        np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4)


def convolutions(traced):
    """All convolutions in a traced function, as their parameters."""
    found = []
    for equation in traced.eqns:
        if equation.primitive.name == "conv_general_dilated":
            found.append(equation.params)
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                found += convolutions(value.jaxpr)
    return found


def traced_gradient(image, kernel, strides, groups):
    return jax.make_jaxpr(
        jax.grad(lambda x: chosen(x, kernel, strides, groups).sum())
    )(image)


@needs_keras
@pytest.mark.parametrize("filters", [1, 16])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_strides_put_no_zeros_between_pixels(groups, filters):
    operands = make_operands((24, 24), (5, 5), (3, filters), groups)
    traced = traced_gradient(*operands, (2, 2), groups)
    found = convolutions(traced.jaxpr)
    assert found
    assert {x["lhs_dilation"] for x in found} == {(1, 1)}


@needs_keras
@pytest.mark.parametrize("size, padded", [(7, False), (6, True)])
def test_images_smaller_than_kernels_are_padded_before(size, padded):
    image, kernel = make_operands((size, 9), (7, 5), (3, 8), 2)
    traced = traced_gradient(image, kernel, (1, 1), 2)
    paddings = {x["padding"] for x in convolutions(traced.jaxpr)}
    nothing = ((0, 0), (0, 0))
    assert paddings == {nothing if padded else ((3, 3), (2, 2))}
