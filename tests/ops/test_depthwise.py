import keras
import numpy as np
import pytest

from keras_epsanet.ops import depthwise
from keras_epsanet.ops.grouped_conv import grouped_convolution


def convolve(images, kernel, strides, groups, data_format="channels_last"):
    outputs = grouped_convolution(
        keras.ops.convert_to_tensor(images),
        keras.ops.convert_to_tensor(kernel),
        strides,
        groups,
        data_format,
    )
    return keras.ops.convert_to_numpy(outputs)


@pytest.mark.parametrize(
    "size, depth, filters, groups, strides",
    [
        (9, 4, 4, 4, 1),  # One output of each group.
        (9, 2, 12, 2, 1),
        (7, 3, 8, 2, 2),
        (5, 4, 4, 2, 3),
    ],
)
def test_it_is_the_grouped_convolution(
    monkeypatch, size, depth, filters, groups, strides
):
    random = np.random.default_rng(0)
    images = random.standard_normal((2, 12, 11, depth * groups))
    kernel = random.standard_normal((size, size, depth, filters))
    args = images.astype("float32"), kernel.astype("float32"), [strides] * 2
    expected = convolve(*args, groups)
    calls = []
    taken = depthwise.convolve_depthwise
    monkeypatch.setattr(
        depthwise,
        "convolve_depthwise",
        lambda *args: calls.append(1) or taken(*args),
    )
    with depthwise.exported_for_onnx_runtime():
        found = convolve(*args, groups)
    assert calls == [1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_it_is_taken_for_an_export_alone():
    shape = (9, 9, 4, 16)
    assert not depthwise.is_taken(shape, (1, 1), 16)
    with pytest.raises(KeyError), depthwise.exported_for_onnx_runtime():
        assert depthwise.is_taken(shape, (2, 2), 16)
        assert not depthwise.is_taken(shape, (2, 2), 1)
        assert not depthwise.is_taken(shape, (1, 2), 16)
        raise KeyError
    assert not depthwise.is_taken(shape, (1, 1), 16)


@pytest.mark.parametrize(
    "kernel_shape, groups, pays",
    [
        ((3, 3, 4, 32), 32, True),  # One output of a group.
        ((3, 3, 8, 64), 32, False),
        ((5, 5, 8, 64), 32, True),
        ((5, 5, 16, 16), 4, False),
        ((7, 7, 16, 32), 8, True),
        ((7, 7, 32, 64), 8, False),
        ((9, 9, 32, 128), 16, True),
        ((9, 9, 64, 128), 1, False),
        ((9, 9, 1, 64), 64, False),  # That is depthwise already.
    ],
)
def test_it_pays_where_it_was_the_fastest(kernel_shape, groups, pays):
    assert depthwise.pays(kernel_shape, groups) is pays


def test_channels_first_images_are_computed_as_ever(monkeypatch):
    monkeypatch.setattr(depthwise, "convolve_depthwise", None)
    images = np.ones((1, 8, 5, 5), "float32")
    kernel = np.ones((7, 7, 4, 2), "float32")
    with depthwise.exported_for_onnx_runtime():
        found = convolve(images, kernel, (1, 1), 2, "channels_first")
    assert found.shape == (1, 2, 5, 5)
