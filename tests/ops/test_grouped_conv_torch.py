import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D  # noqa: E402
from keras_epsanet.ops import forms  # noqa: E402
from keras_epsanet.ops.grouped_conv_torch import convolve_torch  # noqa: E402

needs_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="tiles by operations of Keras"
)


@pytest.mark.parametrize("groups", [1, pytest.param(2, marks=needs_torch)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_equals_the_layer_of_pytorch(groups, strides):
    generator = torch.manual_seed(0)
    image = torch.randn(2, 4, 8, 9, generator=generator)
    kernel = torch.randn(3, 5, 4 // groups, 6, generator=generator)
    reference = torch.nn.Conv2d(
        4, 6, (3, 5), strides, padding=(1, 2), groups=groups, bias=False
    )
    reference.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
    expected = reference(image).detach().numpy()
    first = convolve_torch(image, kernel, strides, groups, "channels_first")
    np.testing.assert_allclose(first, expected, atol=1e-5)
    last = convolve_torch(
        image.permute(0, 2, 3, 1), kernel, strides, groups, "channels_last"
    )
    expected = expected.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(last, expected, atol=1e-5)


def test_channels_last_is_the_layout_of_pytorch_of_that_name():
    # As Keras' pooling makes them: in memory, the channels are first.
    image = torch.ones(2, 4, 8, 9).permute(0, 2, 3, 1)
    kernel = torch.ones(3, 3, 4, 6)
    outputs = convolve_torch(image, kernel, (1, 1), 1, "channels_last")
    assert outputs.is_contiguous()


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [1, 2])
def test_gradient_of_one_filter(number, dtype):
    # For one image on one thread, PyTorch takes a kernel of its own.
    image = torch.ones(number, 6, 5, 2, dtype=dtype)
    kernel = torch.ones(3, 3, 2, 1, dtype=dtype, requires_grad=True)
    outputs = convolve_torch(image, kernel, (1, 1), 1, "channels_last")
    outputs.sum().backward()
    assert float(kernel.grad[1, 1, 0, 0]) == number * 6 * 5


def with_gradients(image, kernel, strides, groups, upstream, dtype):
    """Outputs of a convolution in float64 or tiles, and both gradients."""
    image, kernel = (
        x.to(dtype).detach().requires_grad_() for x in (image, kernel)
    )
    outputs = convolve_torch(image, kernel, strides, groups, "channels_last")
    gradients = torch.autograd.grad(
        outputs, (image, kernel), upstream.to(dtype)
    )
    return [x.detach().double().numpy() for x in (outputs, *gradients)]


@needs_torch
@pytest.mark.parametrize(
    "sizes, kernel_size, filters, groups, strides",
    [
        ((16, 16), (9, 9), 4, 4, (1, 1)),
        ((17, 15), (9, 7), 4, 4, (1, 1)),
        ((18, 20), (5, 5), 8, 4, (2, 2)),
        ((19, 13), (5, 3), 4, 4, (2, 1)),
        ((12, 12), (7, 7), 12, 4, (1, 1)),
    ],
)
def test_tiles_equal_the_plain_convolution(
    sizes, kernel_size, filters, groups, strides
):
    generator = torch.manual_seed(0)
    image = torch.randn(2, *sizes, 8, generator=generator)
    kernel = torch.randn(
        *kernel_size, 8 // groups, filters, generator=generator
    )
    out = [(n - 1) // s + 1 for n, s in zip(sizes, strides)]
    upstream = torch.randn(2, *out, filters, generator=generator)
    arguments = image, kernel, strides, groups, upstream
    with forms.asked_for() as asked:
        found = with_gradients(*arguments, torch.float32)
    assert asked and {forms.NO_TILES} not in map(set, asked.values())
    with forms.asked_for() as asked:
        expected = with_gradients(*arguments, torch.float64)
    assert not asked
    for x, y in zip(found, expected):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * abs(y).max())


@needs_torch
def test_tiles_have_a_second_gradient():
    generator = torch.manual_seed(0)
    image = torch.randn(1, 8, 8, 4, generator=generator, requires_grad=True)
    kernel = torch.randn(3, 3, 1, 4, generator=generator, requires_grad=True)

    def second_gradients(dtype):
        operands = [
            x.detach().to(dtype).requires_grad_() for x in (image, kernel)
        ]
        outputs = convolve_torch(*operands, (1, 1), 4, "channels_last")
        first = torch.autograd.grad(
            (outputs**2).sum(), operands, create_graph=True
        )
        second = torch.autograd.grad(sum((x**2).sum() for x in first), operands)
        return [x.double() for x in second]

    for x, y in zip(
        second_gradients(torch.float32), second_gradients(torch.float64)
    ):
        np.testing.assert_allclose(
            x, y, rtol=0, atol=1e-5 * float(y.abs().max())
        )


@needs_torch
def test_networks_of_tiles_are_exported_to_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    image = keras.Input((12, 12, 8), batch_size=2)
    x = GroupedConv2D(4, 5, groups=4)(image)
    x = PSA(8, (3, 5), groups=(1, 2), reduction=2)(x)
    model = keras.Model(image, BatchNormalization()(x))
    images = np.random.default_rng(0).normal(size=(2, 12, 12, 8)).astype("f")
    with forms.asked_for() as asked:
        expected = model.predict(images, verbose=0)
    assert asked
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(found, expected, atol=1e-5)
