import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import SEWeight


@pytest.mark.parametrize("channels", [16, 64])
def test_golden_values(golden, set_golden_weights, channels):
    reference = golden(f"se_weight_c{channels}")
    x, expected = reference["x"], reference["weights"]
    layer = SEWeight()
    layer.build(x.shape)
    set_golden_weights(se=layer)
    weights = ops.convert_to_numpy(layer(x))
    assert weights.shape == (len(x), 1, 1, channels)
    np.testing.assert_allclose(
        weights[:, 0, 0], expected, rtol=0, atol=1e-5 * expected.max()
    )


def test_channels_first_gives_the_same_weights():
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 32))
    last = SEWeight(8, data_format="channels_last")
    first = SEWeight(8, data_format="channels_first")
    expected = ops.convert_to_numpy(last(x))
    x = x.transpose(0, 3, 1, 2)
    first.build(x.shape)
    first.set_weights(last.get_weights())
    weights = ops.convert_to_numpy(first(x))
    assert first.compute_output_shape(x.shape) == (2, 32, 1, 1)
    assert weights.shape == (2, 32, 1, 1)
    np.testing.assert_allclose(
        weights[:, :, 0, 0], expected[:, 0, 0], atol=1e-6
    )
    assert weights.min() > 0 and weights.max() < 1


def test_initial_values_are_those_of_the_published_code():
    layer = SEWeight(reduction=4)
    layer.build((None, 8, 8, 1024))
    first, bias1, second, bias2 = layer.get_weights()
    np.testing.assert_allclose(first.var(), 2 / 256, rtol=0.05)
    np.testing.assert_allclose(second.var(), 2 / 1024, rtol=0.05)
    for bias, fan_in in ((bias1, 1024), (bias2, 256)):
        bound = fan_in**-0.5
        assert 0.95 * bound < np.abs(bias).max() <= bound
        np.testing.assert_allclose(bias.var(), bound**2 / 3, rtol=0.25)


def test_the_factor_of_lora_comes_back_from_the_config():
    layer = SEWeight(4)
    layer.build((None, 4, 4, 16))
    layer.fc1.enable_lora(3, lora_alpha=6)
    copy = SEWeight.from_config(layer.get_config())
    copy.build((None, 4, 4, 16))
    assert (copy.fc1.lora_rank, copy.fc1.lora_alpha) == (3, 6)
    assert not copy.fc2.lora_enabled


@pytest.mark.parametrize("reduction", [0, -2, 1.5])
def test_reduction_must_be_positive(reduction):
    with pytest.raises(ValueError, match=f"Received: reduction={reduction}"):
        SEWeight(reduction)


def test_a_reduction_by_the_number_of_channels_leaves_one():
    layer = SEWeight(8)
    layer.build((None, 4, 4, 8))
    assert layer.fc1.units == 1
    # What does not divide the channels is rounded down, as in PyTorch.
    layer = SEWeight(4)
    layer.build((None, 4, 4, 11))
    assert (layer.fc1.units, layer.fc2.units) == (2, 11)


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="channels must be known.*None"):
        SEWeight(4, data_format="channels_last").build((None, 4, 4, None))
    with pytest.raises(ValueError, match="channels must be known.*None"):
        SEWeight(4, data_format="channels_first").build((None, None, 4, 4))


@pytest.mark.parametrize(
    "data_format, shape",
    [
        ("channels_last", (1, 3, 5, 8)),
        ("channels_first", (1, 8, 3, 5)),
    ],
)
def test_operations_by_hand(data_format, shape):
    layer = SEWeight(reduction=4, data_format=data_format)
    layer.build(shape)
    assert layer.count_operations(shape) == {
        "macs": 8 * 2 + 2 * 8,
        "biases": 2 + 8,
        "relus": 2,
        "pooled": 3 * 5 * 8,
    }


def test_reduction_larger_than_the_channels_is_refused():
    with pytest.raises(ValueError, match="at most .* 8. Received: .*=16"):
        SEWeight().build((None, 4, 4, 8))


def test_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=2"):
        SEWeight()(keras.Input((16,)))


def test_arguments_reach_the_config_and_the_sublayers():
    given = {
        "reduction": 4,
        "data_format": "channels_last",
        "kernel_initializer": "ones",
        "kernel_regularizer": "l2",
        "kernel_constraint": "non_neg",
    }
    layer = SEWeight(**given, trainable=False, dtype="mixed_bfloat16")
    copy = SEWeight.from_config(layer.get_config())
    for name, value in given.items():
        if not name.startswith("kernel_") or name == "kernel_sizes":
            assert getattr(layer, name) == getattr(copy, name) == value
    layer.build((None, 8, 8, 24))
    for part in layer._flatten_layers():
        assert part.dtype_policy.name == "mixed_bfloat16"
        assert not part.trainable_weights
    kernels = [x for x in layer.weights if x.name == "kernel"]
    assert len(kernels) == 2
    for kernel in kernels:
        assert (ops.convert_to_numpy(kernel) == 1).all()
        assert kernel.regularizer and kernel.constraint
