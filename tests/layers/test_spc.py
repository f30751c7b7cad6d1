import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import SPC
from keras_epsanet.layers.spc import check_pyramid, default_groups


@pytest.mark.parametrize(
    "kernel_size, groups", [(1, 1), (3, 1), (5, 4), (7, 8), (9, 16)]
)
def test_equation_3(kernel_size, groups):
    assert default_groups(kernel_size) == groups


def test_default_groups_are_those_of_the_paper():
    assert SPC(64).groups == (1, 4, 8, 16)


@pytest.mark.parametrize("split_input", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_is_the_concatenation_of_its_branches(split_input, data_format):
    x = np.random.default_rng(0).standard_normal((2, 7, 9, 32))
    x = x.astype("float32")
    axis = -1
    if data_format == "channels_first":
        x, axis = x.transpose(0, 3, 1, 2), 1
    layer = SPC(
        16, (3, 5), (2, 4), 2, split_input=split_input, data_format=data_format
    )
    y = ops.convert_to_numpy(layer(x))
    parts = np.split(x, 2, axis=axis) if split_input else [x, x]
    branches = [conv(p) for conv, p in zip(layer.convolutions, parts)]
    expected = np.concatenate(
        [ops.convert_to_numpy(b) for b in branches], axis=axis
    )
    np.testing.assert_allclose(y, expected, atol=1e-6)
    assert y.shape == layer.compute_output_shape(x.shape)


def test_split_input_convolves_a_part_of_the_channels():
    layer = SPC(64, split_input=True)
    layer.build((None, 8, 8, 64))
    shapes = [conv.kernel.shape for conv in layer.convolutions]
    assert [tuple(shape) for shape in shapes] == [
        (3, 3, 16, 16),
        (5, 5, 4, 16),
        (7, 7, 2, 16),
        (9, 9, 1, 16),
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"filters": 66}, r"divisible by the number of scales, 4.*filters=66"),
        ({"filters": 0}, "positive integer.*filters=0"),
        ({"filters": 64.0}, r"positive integer.*filters=64\.0"),
        ({"kernel_sizes": (3, 4, 5, 7)}, r"odd.*\(3, 4, 5, 7\)"),
        ({"kernel_sizes": (3, 5, 7, -9)}, "positive integers.*-9"),
        ({"kernel_sizes": ()}, r"positive integers.*kernel_sizes=\(\)"),
        ({"kernel_sizes": (3, 5, 7, 9.0)}, r"positive integers.*9\.0"),
        ({"kernel_sizes": (3, 5, 7, 0)}, r"positive integers.*7, 0\)"),
        ({"filters": -4}, "positive integer.*filters=-4"),
        ({"kernel_sizes": 3}, "tuple of positive integers.*kernel_sizes=3"),
        ({"groups": (1, 4)}, r"one entry for each.*groups=\(1, 4\)"),
        ({"groups": (1, 4, 8, 0)}, "positive integers.*groups"),
        ({"groups": (1, 3, 8, 16)}, r"groups=\(1, 1, 8, 16\) and"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        SPC(**{"filters": 64, **arguments})


def test_one_seed_gives_every_branch_a_kernel_of_its_own():
    initializer = keras.initializers.RandomNormal(seed=7)
    layer = SPC(12, (3, 3, 3), (1, 1, 1), kernel_initializer=initializer)
    layer.build((None, 8, 8, 4))
    first, second, third = layer.get_weights()
    for one, other in ((first, second), (first, third), (second, third)):
        assert not np.isclose(one, other).any()


def test_smallest_pyramid():
    assert check_pyramid(2, [1, 3], [1, 1]) == ((1, 3), (1, 1))
    layer = SPC(2, [1, 3])
    assert (layer.kernel_sizes, layer.groups) == ((1, 3), (1, 1))
    assert tuple(layer(np.ones((1, 4, 5, 3))).shape) == (1, 4, 5, 2)


def test_strides_of_two_directions_reach_every_branch():
    layer = SPC(4, (3, 5), (1, 2), strides=(2, 3))
    x = np.ones((1, 8, 9, 2))
    assert tuple(layer(x).shape) == (1, 4, 3, 4)
    assert layer.compute_output_shape(x.shape) == (1, 4, 3, 4)


@pytest.mark.parametrize(
    "data_format, shape",
    [
        ("channels_last", (1, 5, 7, 4)),
        ("channels_first", (1, 4, 5, 7)),
    ],
)
@pytest.mark.parametrize("split_input, inputs", [(False, 4), (True, 2)])
def test_operations_by_hand(data_format, shape, split_input, inputs):
    layer = SPC(
        8, (3, 5), (1, 2), split_input=split_input, data_format=data_format
    )
    layer.build(shape)
    of_pixel = 4 * 3 * 3 * inputs + 4 * 5 * 5 * inputs // 2
    assert layer.count_operations(shape) == {
        "macs": 5 * 7 * of_pixel,
        "biases": 0,
        "relus": 0,
    }


def test_groups_that_do_not_divide_the_input_are_refused():
    with pytest.raises(
        ValueError, match=r"24 input channels.*\(1, 4, 8, 8\) would fit"
    ):
        SPC(64).build((None, 8, 8, 24))
    with pytest.raises(ValueError, match="divisible by the number of scales"):
        SPC(64, split_input=True).build((None, 8, 8, 66))


def test_wrong_rank_and_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        SPC(64)(np.ones((8, 8, 64)))
    with pytest.raises(ValueError, match="input channels must be known"):
        SPC(64).build((None, 8, 8, None))


def test_a_reduction_may_be_as_large_as_a_scale():
    assert check_pyramid(32, (3, 5), (1, 4), reduction=16)
    with pytest.raises(ValueError, match="reduction=16 would fit"):
        check_pyramid(32, (3, 5), (1, 4), reduction=17)


def test_arguments_reach_the_config_and_the_sublayers():
    given = {
        "filters": 24,
        "kernel_sizes": (3, 7, 5),
        "groups": (2, 1, 4),
        "strides": 2,
        "split_input": True,
        "data_format": "channels_last",
        "kernel_initializer": "ones",
        "kernel_regularizer": "l2",
        "kernel_constraint": "non_neg",
    }
    layer = SPC(**given, trainable=False, dtype="mixed_bfloat16")
    copy = SPC.from_config(layer.get_config())
    for name, value in given.items():
        if not name.startswith("kernel_") or name == "kernel_sizes":
            assert getattr(layer, name) == getattr(copy, name) == value
    layer.build((None, 8, 8, 24))
    for part in layer._flatten_layers():
        assert part.dtype_policy.name == "mixed_bfloat16"
        assert not part.trainable_weights
    kernels = [x for x in layer.weights if x.name == "kernel"]
    assert len(kernels) == 3
    for kernel in kernels:
        assert (ops.convert_to_numpy(kernel) == 1).all()
        assert kernel.regularizer and kernel.constraint
