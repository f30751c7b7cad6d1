import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops import forms, grouped_conv
from keras_epsanet.ops.grouped_conv import grouped_convolution

# Its number of rows and of columns, unlike one another.
KERNEL = np.arange(9 * 7, dtype="float32").reshape(9, 7, 1, 1)


@pytest.mark.parametrize(
    "sizes, reach",
    [
        ((1, 4), (1, 7)),
        ((4, 3), (7, 5)),
        ((5, 4), (9, 7)),
        ((None, 1), (9, 1)),
        ((2, None), (3, 7)),
        ((None, None), (9, 7)),
    ],
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_middle_of_a_kernel_is_left_that_meets_the_image(
    sizes, reach, data_format
):
    shape = (None, *sizes, 1)
    if data_format == "channels_first":
        shape = (None, 1, *sizes)
    cropped = grouped_conv.crop_to_reach(
        ops.convert_to_tensor(KERNEL), shape, data_format
    )
    top, left = (9 - reach[0]) // 2, (7 - reach[1]) // 2
    expected = KERNEL[top : 9 - top, left : 7 - left]
    assert expected.shape[:2] == reach
    np.testing.assert_array_equal(ops.convert_to_numpy(cropped), expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_kernel_of_the_backend_gets_what_is_left(monkeypatch, data_format):
    received = []
    name = f"grouped_conv_{keras.backend.backend()}"
    module = pytest.importorskip(f"keras_epsanet.ops.{name}")
    monkeypatch.setattr(
        module,
        f"convolve_{keras.backend.backend()}",
        lambda *arguments: received.append(arguments),
    )
    image = np.ones((1, 2, 20, 1), "int32")
    if data_format == "channels_first":
        image = image.transpose(0, 3, 1, 2)
    grouped_convolution(image, KERNEL, (2, 3), 1, data_format)
    ((inputs, kernel, *others),) = received
    assert tuple(kernel.shape) == (3, 7, 1, 1)
    assert others == [(2, 3), 1, data_format]
    for tensor in (inputs, kernel):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"


def with_gradients(image, kernel, strides, upstream):
    """Outputs, gradient of the image and gradient of the kernel."""

    def convolve(image, kernel):
        return grouped_convolution(image, kernel, strides, 4, "channels_last")

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            operands = tf.constant(image), tf.constant(kernel)
            tape.watch(operands)
            outputs = convolve(*operands)
        return outputs, *tape.gradient(outputs, operands, tf.constant(upstream))
    if keras.backend.backend() == "jax":
        import jax

        outputs, gradient = jax.vjp(convolve, image, kernel)
        return outputs, *gradient(upstream)
    import torch

    operands = [torch.tensor(x, requires_grad=True) for x in (image, kernel)]
    outputs = convolve(*operands)
    gradients = torch.autograd.grad(outputs, operands, torch.tensor(upstream))
    return outputs.detach(), *gradients


@pytest.mark.parametrize(
    "strides, sizes",
    [((1, 1), (13, 11)), ((2, 2), (20, 17)), ((1, 3), (12, 27))],
)
def test_every_form_gives_the_same_outputs_and_gradients(strides, sizes):
    random = np.random.default_rng(0)
    image = random.normal(size=(2, *sizes, 8)).astype("float32")
    kernel = random.normal(size=(3, 3, 2, 8)).astype("float32")
    rows, columns = [-(-n // s) for n, s in zip(sizes, strides)]
    upstream = random.normal(size=(2, rows, columns, 8)).astype("float32")
    problem = forms.Problem(kernel.shape, strides, 4, (rows, columns))
    shapes = forms.candidates(problem)[:5]
    assert len(shapes) == 5
    try:
        forms.choose({problem: forms.Forms((1, 1), (1, 1))})
        expected = with_gradients(image, kernel, strides, upstream)
        # Each for the outputs, beside each other one for the gradient.
        for chosen in zip(shapes, shapes[1:] + shapes[:1]):
            forms.choose({problem: forms.Forms(*chosen)})
            found = with_gradients(image, kernel, strides, upstream)
            for ours, theirs in zip(found, expected):
                np.testing.assert_allclose(
                    ops.convert_to_numpy(ours),
                    ops.convert_to_numpy(theirs),
                    atol=1e-4,
                    err_msg=str(chosen),
                )
    finally:
        forms.forget()
