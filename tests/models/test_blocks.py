import warnings

import keras
import numpy as np
import pytest

from keras_epsanet import AttentionSlot, ResNet
from keras_epsanet.attention import SE


def names(slot):
    model = ResNet(
        (1,),
        (16,),
        slot and AttentionSlot(SE(reduction=2), slot, name="x"),
        include_top=False,
    )
    start = "conv2_block1_"
    return [
        layer.name.removeprefix(start)
        for layer in model.layers
        if layer.name.startswith(start)
        and not layer.name.startswith(f"{start}0")
    ]


FIRST = ["1_conv", "1_bn", "1_relu"]
SECOND = ["2_conv", "2_bn", "2_relu"]


@pytest.mark.parametrize(
    "slot, expected",
    [
        (None, [*FIRST, *SECOND, "3_conv", "3_bn", "add", "out"]),
        ("residual", [*FIRST, *SECOND, "3_conv", "3_bn", "x", "add", "out"]),
        (
            "convolution",
            [*FIRST, "x", *SECOND[1:], "3_conv", "3_bn", "add", "out"],
        ),
        (
            "convolution_norm_relu",
            [*FIRST, "x", "3_conv", "3_bn", "add", "out"],
        ),
        (
            "after_convolution",
            [*FIRST, "2_conv", "x", "2_bn", "2_relu", "3_conv", "3_bn"]
            + ["add", "out"],
        ),
        ("output", [*FIRST, *SECOND, "3_conv", "3_bn", "add", "out", "x"]),
    ],
)
def test_order_of_the_layers_of_a_block(slot, expected):
    assert names(slot) == expected


def test_strides_are_in_the_second_convolution_and_the_shortcut():
    model = ResNet((1, 2), (16, 16), include_top=False)
    strides = {
        layer.name: layer.strides
        for layer in model.layers
        if layer.name.startswith("conv3") and layer.name.endswith("conv")
    }
    assert {name for name, s in strides.items() if s in (2, (2, 2))} == {
        "conv3_block1_0_conv",
        "conv3_block1_2_conv",
    }


def layers_of(model, start):
    return {
        layer.name.removeprefix(start): layer
        for layer in model.layers
        if layer.name.startswith(start)
    }


def test_shortcuts_may_pool_the_largest_pixels():
    model = ResNet((1, 1), (16, 16), downsampling="max", include_top=False)
    block = layers_of(model, "conv3_block1_")
    assert block["0_pad"].padding == ((1, 1), (1, 1))
    pool = block["0_pool"]
    assert type(pool) is keras.layers.MaxPooling2D
    assert (pool.pool_size, pool.strides) == ((3, 3), (2, 2))
    assert block["0_conv"].strides == (1, 1)
    assert block["2_conv"].strides == (2, 2) and "2_pool" not in block
    # Without strides there is nothing to pool.
    assert "0_pool" not in layers_of(model, "conv2_block1_")


def test_shortcuts_may_pool_averages():
    model = ResNet((1, 1), (16, 16), downsampling="average", include_top=False)
    block = layers_of(model, "conv3_block1_")
    for pool, size, padding in (("0_pool", 2, "same"), ("2_pool", 3, "valid")):
        pool = block[pool]
        assert type(pool) is keras.layers.AveragePooling2D
        assert pool.pool_size == (size, size) and pool.strides == (2, 2)
        assert pool.padding == padding
    assert block["2_pad"].padding == ((1, 1), (1, 1))
    for name in ("0_conv", "2_conv"):
        assert block[name].strides == (1, 1)
    first = layers_of(model, "conv2_block1_")
    assert not {"0_pool", "2_pad", "2_pool"} & first.keys()


@pytest.mark.parametrize(
    "filters, sizes", [((8,), [7]), ((4, 6, 8), [3, 3, 3])]
)
@pytest.mark.parametrize("pool", [True, False])
def test_layers_of_the_stem(filters, sizes, pool):
    model = ResNet(
        (1,), (16,), stem_filters=filters, stem_pool=pool, include_top=False
    )
    names = ["conv1_", "conv1_2_", "conv1_3_"][: len(filters)]
    found = [layer.name for layer in model.layers[1:]]
    expected = [x + kind for x in names for kind in ("conv", "bn", "relu")]
    expected += ["pool1_pad", "pool1_pool"] if pool else []
    assert found[: len(expected)] == expected
    assert ("pool1_pool" in found) == pool
    convs = [model.get_layer(f"{name}conv") for name in names]
    assert [conv.filters for conv in convs] == list(filters)
    assert [conv.kernel_size[0] for conv in convs] == sizes
    assert [conv.strides[0] for conv in convs] == [2, 1, 1][: len(convs)]
    if pool:
        layer = model.get_layer("pool1_pool")
        assert (layer.pool_size, layer.strides) == ((3, 3), (2, 2))
        assert model.get_layer("pool1_pad").padding == ((1, 1), (1, 1))
    # Otherwise the first stage halves the sizes.
    strides = model.get_layer("conv2_block1_2_conv").strides
    assert strides == ((1, 1) if pool else (2, 2))


@pytest.mark.parametrize(
    "pooling, name, kind",
    [
        ("avg", "avg_pool", keras.layers.GlobalAveragePooling2D),
        ("max", "max_pool", keras.layers.GlobalMaxPooling2D),
    ],
)
def test_pooling_behind_the_last_stage(pooling, name, kind):
    model = ResNet((1,), (16,), include_top=False, pooling=pooling, prefix="a_")
    last = model.layers[-1]
    assert last.name == f"a_{name}" and type(last) is kind
    assert model.output.shape == (None, 64)


@pytest.mark.parametrize("downsampling", ["convolution", "max", "average"])
def test_every_layer_has_the_dtype_and_the_prefix(downsampling):
    model = ResNet(
        (1, 1, 1),
        (8, 16, 16),
        "abn",
        downsampling=downsampling,
        input_shape=(64, 64, 3),
        classes=3,
        dtype="float64",
        prefix="a_",
        data_format="channels_last",
    )
    for layer in model.layers[1:]:
        assert layer.name.startswith("a_"), layer.name
        assert layer.dtype_policy.name == "float64", layer.name


def test_a_branch_copies_the_last_stage_without_strides():
    model = ResNet((1, 2), (8, 16), "abn", input_shape=(64, 64, 3), classes=3)
    branch = layers_of(model, "conv3_branch_")
    assert branch["block1_2_conv"].strides == (1, 1)
    assert "block2_out" in branch and "block3_out" not in branch
    assert branch["multiply"].output.shape == (None, 16, 16, 32)
    assert model.get_layer("conv3_abn").classes == 3
    # What is weighed is added to what it was.
    (added,) = [
        node
        for node in branch["add"]._inbound_nodes
        if node.operation is branch["add"]
    ]
    names = [x._keras_history.operation.name for x in added.input_tensors]
    assert names == ["conv3_branch_multiply", "conv2_block1_out"]
    assert not [x for x in branch if x.endswith("_abn")]


def test_the_classifier_starts_as_a_linear_layer_of_pytorch():
    model = ResNet((1,), (16,), input_shape=(32, 32, 3), classes=2000)
    bound = 64**-0.5
    for weight in model.get_layer("predictions").weights:
        values = keras.ops.convert_to_numpy(weight)
        assert 0.99 * bound < np.abs(values).max() <= bound
        np.testing.assert_allclose(values.var(), bound**2 / 3, rtol=0.1)


@pytest.mark.parametrize(
    "classes, activation, warned",
    [
        (1, "softmax", True),
        (1, keras.activations.softmax, True),
        (1, "sigmoid", False),
        (1, None, False),
        (2, "softmax", False),
    ],
)
def test_a_softmax_over_one_class_is_warned_of(classes, activation, warned):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ResNet(
            (1,),
            (8,),
            classes=classes,
            classifier_activation=activation,
            input_shape=(32, 32, 3),
        )
    messages = [str(x.message) for x in found]
    assert any('classifier_activation="sigmoid"' in x for x in messages) == (
        warned
    )
