import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops import grouped_conv
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
    cropped = grouped_conv._crop_to_reach(
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
