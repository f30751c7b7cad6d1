import keras
import numpy as np
import pytest
from keras import layers

import keras_epsanet
from keras_epsanet import complexity
from keras_epsanet.attention import GlobalContext
from keras_epsanet.layers import PSA, SPC, GroupedConv2D, SEWeight


def model_of(layer, shape):
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


class Scale(layers.Layer):
    """A layer with a weight for each channel."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, inputs):
        return inputs * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape


class CountedScale(Scale):
    def count_operations(self, input_shape):
        return {"macs": int(np.prod(input_shape[1:])), "relus": 1}


class MiscountedScale(Scale):
    def count_operations(self, input_shape):
        return {"multiplications": 1}


class Dynamic(layers.Layer):
    """A layer of whose output only the data tell a size."""

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((1, None, 3))


def test_resnet50_of_keras():
    model = keras.applications.ResNet50(weights=None)
    counts = complexity(model)
    assert f"{counts.macs / 1e9:.3f}" == "3.858"
    assert f"{counts.flops / 1e9:.3f}" == "3.879"


# Layer, shape of the image, parameters, FLOPs of table 2 and what table 3
# adds to them; all by hand.
@pytest.mark.parametrize(
    "layer, shape, parameters, table2, added",
    [
        (
            layers.Conv2D(8, 3, strides=2, padding="same"),
            (7, 7, 4),
            3 * 3 * 4 * 8 + 8,
            4 * 4 * 8 * 3 * 3 * 4,
            4 * 4 * 8,
        ),
        (
            layers.Conv2D(8, 3, groups=2, use_bias=False, activation="relu"),
            (6, 6, 4),
            3 * 3 * 2 * 8,
            4 * 4 * 8 * 3 * 3 * 2,
            4 * 4 * 8,
        ),
        (layers.Conv1D(5, 3), (10, 2), 35, 8 * 5 * 3 * 2, 8 * 5),
        (layers.Conv3D(2, 2), (3, 3, 3, 1), 18, 8 * 2 * 8, 8 * 2),
        (
            layers.Conv2DTranspose(8, 2, strides=2, activation="relu"),
            (3, 3, 4),
            2 * 2 * 4 * 8 + 8,
            3 * 3 * 4 * 2 * 2 * 8,
            2 * 6 * 6 * 8,
        ),
        (
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            (5, 5, 3),
            3 * 3 * 6 + 6,
            3 * 3 * 6 * 3 * 3,
            3 * 3 * 6,
        ),
        (
            layers.SeparableConv2D(8, 3, depth_multiplier=2),
            (5, 5, 3),
            3 * 3 * 6 + 6 * 8 + 8,
            3 * 3 * (6 * 3 * 3 + 6 * 8),
            3 * 3 * 8,
        ),
        (
            layers.Dense(5, activation="relu"),
            (3, 4),
            4 * 5 + 5,
            3 * 5 * 4,
            2 * 3 * 5,
        ),
        (layers.BatchNormalization(), (2, 2, 3), 6, 2 * 12, 0),
        (layers.ReLU(), (2, 2, 3), 0, 0, 12),
        (layers.Activation("relu"), (2, 2, 3), 0, 0, 12),
        (layers.Activation("softmax"), (2, 2, 3), 0, 0, 0),
        (layers.MaxPooling2D(2), (4, 4, 3), 0, 0, 48),
        (layers.GlobalAveragePooling2D(), (4, 4, 3), 0, 0, 48),
        (layers.ZeroPadding2D(1), (4, 4, 3), 0, 0, 0),
        (layers.Dropout(0.5), (4, 4, 3), 0, 0, 0),
        (
            GroupedConv2D(
                8, 5, strides=2, groups=4, use_bias=True, activation="relu"
            ),
            (7, 7, 4),
            5 * 5 * 8 + 8,
            4 * 4 * 8 * 5 * 5,
            2 * 4 * 4 * 8,
        ),
        (
            SEWeight(reduction=4),
            (3, 3, 8),
            8 * 2 + 2 + 2 * 8 + 8,
            8 * 2 + 2 * 8,
            3 * 3 * 8 + 2 + 2 + 8,
        ),
        (
            SPC(8, kernel_sizes=(3, 5), groups=(1, 4)),
            (5, 5, 4),
            3 * 3 * 4 * 4 + 5 * 5 * 4,
            5 * 5 * 4 * (3 * 3 * 4 + 5 * 5),
            0,
        ),
        (
            SPC(8, kernel_sizes=(3, 5), groups=(1, 2), split_input=True),
            (5, 5, 4),
            3 * 3 * 2 * 4 + 5 * 5 * 4,
            5 * 5 * 4 * (3 * 3 * 2 + 5 * 5),
            0,
        ),
        (
            PSA(8, kernel_sizes=(3, 5), groups=(1, 4), reduction=2),
            (5, 5, 4),
            3 * 3 * 4 * 4 + 5 * 5 * 4 + (4 * 2 + 2) + (2 * 4 + 4),
            5 * 5 * 4 * (3 * 3 * 4 + 5 * 5) + 2 * (4 * 2 + 2 * 4),
            2 * (5 * 5 * 4 + 2 + 2 + 4),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_layers_by_hand(layer, shape, parameters, table2, added):
    model = model_of(layer, shape)
    assert complexity(model).parameters == parameters
    assert complexity(model).flops == table2
    assert complexity(model, convention="table3").flops == table2 + added


@pytest.mark.parametrize(
    "build",
    [
        lambda data_format: layers.Conv2D(
            8, 3, groups=2, data_format=data_format
        ),
        lambda data_format: layers.SeparableConv2D(
            8, 3, data_format=data_format
        ),
        lambda data_format: PSA(
            8, (3, 5), (1, 4), reduction=2, data_format=data_format
        ),
    ],
)
def test_channels_first_counts_as_channels_last(build):
    first = model_of(build("channels_first"), (4, 9, 7))
    last = model_of(build("channels_last"), (9, 7, 4))
    for convention in ("table2", "table3"):
        expected = complexity(last, convention=convention)
        counts = complexity(first, convention=convention)
        assert counts.macs == expected.macs > 0
        assert counts.flops == expected.flops


def test_a_shared_layer_counts_its_calls_and_its_parameters_once():
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", use_bias=False)
    pooled = layers.MaxPooling2D(2)(shared(image))
    counts = complexity(keras.Model(image, shared(pooled)))
    assert counts.parameters == 81
    assert [layer.parameters for layer in counts.layers] == [81, 0, 0]
    assert [layer.macs for layer in counts.layers] == [64 * 81, 0, 16 * 81]


def test_models_in_models_are_counted_at_the_size_of_their_call():
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(3, 1, name="conv")],
        name="inner",
    )
    middle_input = keras.Input((None, None, 3))
    middle = keras.Model(middle_input, inner(middle_input), name="middle")
    image = keras.Input((8, 8, 3))
    x = layers.MaxPooling2D(2)(middle(image))
    counts = complexity(keras.Model(image, middle(x)))
    convolutions = [layer for layer in counts.layers if layer.macs]
    assert [layer.name for layer in convolutions] == ["middle/inner/conv"] * 2
    assert [layer.macs for layer in convolutions] == [64 * 9, 16 * 9]
    assert counts.parameters == 12


def test_sequential_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    assert complexity(model).macs == 12


def test_several_inputs_and_outputs():
    inputs = {name: keras.Input((None, 3), name=name) for name in "ab"}
    sums = layers.Dense(4)(inputs["a"]) + layers.Dense(1)(inputs["b"])
    model = keras.Model(
        inputs, {"sum": sums, "max": layers.GlobalMaxPooling1D()(sums)}
    )
    counts = complexity(model, [(5, 3), (1, 3)], convention="table3")
    assert counts.flops == 5 * 4 * (3 + 1) + (3 + 1) + 5 * 4


def test_boxes_merged_into_the_batch_count():
    image = keras.Input((10, 6))
    boxes = keras.ops.reshape(image, (-1, 6))
    model = keras.Model(image, layers.Dense(2)(boxes))
    assert complexity(model).macs == 10 * 6 * 2


def test_numbers_do_not_depend_on_the_data_type():
    model = model_of(PSA(64, dtype="mixed_bfloat16"), (8, 8, 64))
    assert (
        complexity(model).flops
        == complexity(model_of(PSA(64), (8, 8, 64))).flops
    )


def test_models_and_layers_that_wrap_others_are_counted_part_by_part():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="dense")], name="inner"
    )
    image = keras.Input((5, 4))
    x = layers.TimeDistributed(inner, name="steps")(inputs=image)
    x = layers.Bidirectional(layers.GRU(2, name="gru"), name="both")(x)
    counts = complexity(keras.Model(image, x))
    assert [layer.name for layer in counts.layers if layer.macs] == [
        "steps/inner/dense",
        "both/forward_gru",
        "both/backward_gru",
    ]
    assert counts.macs == 5 * 4 * 3 + 2 * 5 * 3 * (3 * 2 + 2 * 2)
    assert sum(layer.parameters for layer in counts.layers) == (
        counts.parameters
    )


class OwnCell(layers.Layer):
    state_size = output_size = 4

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(4, 4))

    def call(self, inputs, states):
        return inputs, states


@pytest.mark.parametrize(
    "layer",
    [
        Scale(name="mine"),
        layers.RNN(OwnCell(), name="mine"),
        layers.RNN([OwnCell(), layers.LSTMCell(2)], name="mine"),
        layers.Wrapper(layers.ReLU(), name="mine"),
    ],
    ids=["weights", "cell", "cells", "wrapper"],
)
def test_what_is_not_known_is_named_and_the_rest_counted(layer):
    if type(layer) is layers.Wrapper:
        layer.call = lambda inputs: inputs
    image = keras.Input((5, 4))
    x = layers.Dense(4)(layer(image))
    counts = complexity(keras.Model(image, x))
    assert counts.uncounted == ("mine",)
    assert counts.macs == counts.layers[-1].macs > 0
    *_, rule, total, uncounted = str(counts).splitlines()
    assert total.startswith("total ")
    assert uncounted == "uncounted: mine"


def test_what_is_not_known_in_other_models_is_named_once():
    scale = Scale(name="mine")
    nested = model_of(scale, (4, 4))
    nested.name = "nested"
    nested.trainable = False
    image = keras.Input((4, 4))
    x = layers.TimeDistributed(Scale(name="other"), name="steps")(image)
    counts = complexity(keras.Model(image, nested(nested(x))))
    assert counts.uncounted == ("steps/other", "nested/mine")
    table = str(counts).splitlines()
    rows = [row.split() for row in table if row.startswith("nested/mine")]
    assert [row[-3:] for row in rows] == [["0", "uncounted", "uncounted"]] * 2
    assert table[-1] == "uncounted: steps/other, nested/mine"


def test_open_sizes_of_a_wrapped_layer_are_refused():
    image = keras.Input((4, 3))
    x = layers.TimeDistributed(layers.Dense(2), name="steps")(Dynamic()(image))
    with pytest.raises(ValueError, match="steps"):
        complexity(keras.Model(image, x))


@pytest.mark.parametrize(
    "equation, output_shape, macs",
    [
        ("...abc,cd->...abd", (None, None, 6), 5 * 3 * (4 * 6 + 6 * 2)),
        ("abc...,cd->abd...", (None, 6), 5 * 6 * 4 * (3 + 2)),
    ],
)
def test_a_size_that_keras_leaves_open_comes_from_the_input(
    equation, output_shape, macs
):
    image = keras.Input((None, 3, 4))
    x = layers.EinsumDense(equation, output_shape)(image)
    model = keras.Model(image, layers.Dense(2)(x))
    assert complexity(model, (5, 3, 4)).macs == macs


def test_quantized_layers_and_lora_count_as_before():
    dense, lora = layers.Dense(5), layers.Dense(5)
    image = keras.Input((3, 4))
    model = keras.Model(image, layers.Dense(2)(lora(dense(image))))
    macs = complexity(model).macs
    dense.quantize("int4")
    lora.enable_lora(2)
    assert complexity(model).macs == macs == 3 * (4 * 5 + 5 * 5 + 5 * 2)


def test_a_layer_counts_for_itself():
    model = model_of(CountedScale(), (4, 5))
    assert complexity(model).flops == 20
    assert complexity(model, convention="table3").flops == 21


def test_a_layer_counts_for_every_step():
    steps = layers.TimeDistributed(CountedScale())
    model = model_of(steps, (3, 4, 5))
    assert complexity(model, convention="table3").flops == 3 * (20 + 1)


def test_heads_are_counted_for_their_regions():
    image = keras.Input((8, 4), name="image")
    model = keras.Model(image, layers.Dense(3, name="body")(image))
    regions = keras.Input((5, 4), name="regions")
    x = layers.Dense(2, name="mask_fcn")(regions)
    x = layers.Dense(3, name="mask_logits")(x)
    model.region_heads = [(keras.Model(regions, x, name="mask_head"), 7)]
    counts = complexity(model)
    assert [(x.name, x.macs, x.flops) for x in counts.layers if x.macs] == [
        ("body", 8 * 4 * 3, 8 * 4 * 3),
        ("mask_head/mask_fcn", 7 * 5 * 4 * 2, 7 * 5 * 4 * 2),
        ("mask_head/mask_logits", 7 * 5 * 2 * 3, 7 * 5 * 2 * 3),
    ]
    counts = complexity(model, convention="table3")
    flops = {layer.name: layer.flops for layer in counts.layers}
    assert flops["mask_head/mask_fcn"] == 7 * 5 * (4 * 2 + 2)
    assert flops["mask_head/mask_logits"] == 0


def test_a_layer_that_counts_something_unknown_is_refused():
    with pytest.raises(ValueError, match="multiplications"):
        complexity(model_of(MiscountedScale(name="scale"), (4, 5)))


def test_products_of_activations_are_listed_apart():
    context = GlobalContext(4, data_format="channels_last", name="gc")
    model = model_of(context, (3, 5, 8))
    pixels, hidden = 3 * 5, 2
    counts = complexity(model)
    assert counts.macs == 8 * pixels + 2 * 8 * hidden
    assert counts.flops == counts.macs + 2 * hidden
    assert counts.products == counts.layers[-1].products == 8 * pixels
    *_, total, products = str(counts).splitlines()
    assert total.startswith("total")
    assert products == "products of activations: 120"
    counts = complexity(model, convention="table3")
    assert counts.flops == counts.macs + pixels + 8 + (1 + 2 + 1) * hidden


def test_unknown_sizes_are_refused():
    model = model_of(layers.Conv2D(2, 3), (None, None, 3))
    with pytest.raises(ValueError, match="`input_shape` must give all sizes"):
        complexity(model)
    assert complexity(model, (5, 4, 3)).macs == 3 * 2 * 2 * 27


@pytest.mark.parametrize("shape", [(None, 5, 4, 3), (5, 4, 1), (None, 4, 3)])
def test_input_shapes_that_do_not_fit_are_refused(shape):
    model = model_of(layers.Conv2D(2, 3), (None, None, 3))
    with pytest.raises(ValueError, match="Received: input_shape"):
        complexity(model, shape)


def test_sizes_that_only_the_data_tell_are_refused():
    image = keras.Input((4, 3))
    x = layers.Dense(2, name="head")(Dynamic()(image))
    with pytest.raises(ValueError, match="head"):
        complexity(keras.Model(image, x))


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs)

    subclassed = Subclassed()
    subclassed(np.ones((1, 3)))
    for model in (subclassed, keras.Sequential([layers.Dense(2)])):
        with pytest.raises(ValueError, match="functional"):
            complexity(model)
    counts = complexity(model_of(subclassed, (3,)))
    assert counts.uncounted == (subclassed.name,)


def test_a_call_that_the_graph_lacks_is_refused_or_not_counted():
    class Twice(keras.Model):
        def call(self, inputs):
            return super().call(super().call(inputs))

    image = keras.Input((3,))
    twice = Twice(image, layers.Dense(3)(image), name="twice")
    with pytest.raises(ValueError, match="Twice has a `call` of its own"):
        complexity(twice)
    counts = complexity(model_of(twice, (3,)))
    assert (counts.uncounted, counts.macs) == (("twice",), 0)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="table2, table3"):
        complexity(model_of(layers.ReLU(), (3,)), convention="table4")


def test_the_model_is_not_changed():
    model = keras_epsanet.EPSANet(
        stackwise_num_blocks=(1,),
        stackwise_num_filters=(64,),
        kernel_sizes=(3, 5),
        groups=(1, 4),
        include_top=False,
        pooling="avg",
    )
    layer = model.get_layer("conv2_block1_psa")
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3))
    before = keras.ops.convert_to_numpy(model(image))
    output, config = layer.output, model.get_config()
    complexity(model, (64, 64, 3))
    # `output` raises an error for layers with several calls.
    assert layer.output is output
    assert model.get_config() == config
    assert keras.Model(model.inputs, layer.output).output.shape[-1] == 64
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model(image)), before
    )


def test_table_ends_with_the_totals():
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.ZeroPadding2D(1, name="pad"),
            layers.Conv2D(8, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
        ]
    )
    header, _, *rows, _, total = str(complexity(model)).splitlines()
    assert header.endswith("FLOPs (table2)")
    assert [row.split() for row in rows] == [
        ["conv", "(1,", "32,", "32,", "8)", "216", "221,184", "221,184"],
        ["norm", "(1,", "32,", "32,", "8)", "16", "0", "16,384"],
    ]
    assert total.split() == ["total", "232", "221,184", "237,568"]
