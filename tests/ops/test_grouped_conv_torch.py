import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_epsanet.ops.grouped_conv_torch import convolve_torch  # noqa: E402


@pytest.mark.parametrize("groups", [1, 2])
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
