"""What every layer of attention does, whatever its equation."""

import inspect
import json

import keras
import numpy as np
import pytest
from arguments import ARGUMENTS
from keras import ops
from running import FORMATS, compiled, convert, revert

from keras_epsanet import attention
from keras_epsanet.attention import (
    BAM,
    CBAM,
    ECA,
    EMA,
    FCA,
    SE,
    AttentionAugmentedConv2D,
    AttentionBranch,
    CoordinateAttention,
    DoubleAttention,
    GlobalContext,
    GSoP,
    HierarchicalSplit,
    NonLocal,
    PositionAttention,
    PyConv2D,
    SelectiveKernel,
    ShuffleAttention,
    SimAM,
    SplitAttention,
    TripletAttention,
)

SHAPE = (2, 5, 6, 16)
LAYER = {
    "name": "some",
    "trainable": False,
    "dtype": "mixed_bfloat16",
    "data_format": "channels_first",
    "activity_regularizer": keras.regularizers.L2(0.25),
}
KERNEL = {
    "kernel_initializer": keras.initializers.HeNormal(seed=3),
    "kernel_regularizer": keras.regularizers.L1(0.5),
    "kernel_constraint": keras.constraints.MaxNorm(3),
}
# A softmax takes no notice of what is added to all of its numbers.
WITHOUT_GRADIENT = {"gather_conv/bias", "mask_conv/bias", "phi/bias"}
WITHOUT_GRADIENT |= {"key_conv/bias"}
every_layer = pytest.mark.parametrize("cls", ARGUMENTS)


def images(dtype="float32"):
    return np.random.default_rng(0).standard_normal(SHAPE).astype(dtype)


def make_layer(cls, draw_weights, **arguments):
    """A layer with weights that another one of its class has too."""
    arguments = {"data_format": "channels_last", **arguments}
    layer = cls(**ARGUMENTS[cls], **arguments)
    layer.build(convert(images(), layer.data_format).shape)
    return draw_weights(layer)


def make_model(layer):
    image = keras.Input((None, None, SHAPE[-1]))
    return keras.Model(image, layer(image))


def flat(outputs):
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def name_in(layer, weight):
    return weight.path.removeprefix(f"{layer.path}/")


def test_the_table_has_every_public_layer():
    assert {cls.__name__ for cls in ARGUMENTS} == set(attention.__all__)


# Arguments


def arguments_of(cls):
    kernel = KERNEL if cls.has_kernels else {}
    return {**ARGUMENTS[cls], **kernel, **LAYER}


def plain(value):
    if isinstance(value, keras.dtype_policies.DTypePolicy):
        return value.name
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return keras.saving.serialize_keras_object(value)


@every_layer
def test_every_argument_survives(cls):
    expected = arguments_of(cls)
    defaults = inspect.signature(cls.__init__).parameters
    for name in ARGUMENTS[cls].keys() | {"data_format"}:
        assert plain(expected[name]) != plain(defaults[name].default)
    layer = cls(**expected)
    config = layer.get_config()
    assert set(defaults) - {"self", "kwargs"} <= set(expected)
    assert set(config) == set(expected) | set(KERNEL)
    through_json = json.dumps(keras.saving.serialize_keras_object(layer))
    for copy in (
        layer,
        cls.from_config(config),
        keras.saving.deserialize_keras_object(json.loads(through_json)),
    ):
        for name, value in expected.items():
            attribute = {"dtype": "dtype_policy"}.get(name, name)
            assert plain(getattr(copy, attribute)) == plain(value), name


@every_layer
def test_arguments_of_kernels_reach_them_or_are_refused(cls):
    for name, value in KERNEL.items():
        if not cls.has_kernels:
            with pytest.raises(ValueError, match=f"Received: {name}="):
                cls(**ARGUMENTS[cls], **{name: value})
    if cls.has_kernels:
        # One whose first number does not depend on the shape.
        normal = keras.initializers.RandomNormal(seed=3)
        kernel = {**KERNEL, "kernel_initializer": normal}
        layer = cls(**ARGUMENTS[cls], **kernel)
        layer.build(convert(images(), layer.data_format).shape)
        kernels = [w for w in layer.trainable_weights if w.name == "kernel"]
        assert len(layer.losses) == len(kernels) > 0
        assert all(kernel.constraint for kernel in kernels)
        first = [ops.convert_to_numpy(kernel).ravel()[0] for kernel in kernels]
        # Equal seeds, but other numbers for each.
        assert len(set(first)) == len(first)


@every_layer
def test_what_is_no_image_is_refused(cls):
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=2"):
        cls(**ARGUMENTS[cls])(keras.Input((16,)))
    with pytest.raises(ValueError, match="Received: data_format='channels"):
        cls(**ARGUMENTS[cls], data_format="channels")


@every_layer
@pytest.mark.parametrize("data_format", FORMATS)
def test_unknown_channels_are_refused(cls, data_format):
    shape = convert(np.empty(SHAPE), data_format).shape
    shape = [None if size == SHAPE[-1] else size for size in shape]
    with pytest.raises(ValueError, match="must be known. Received: input_sh"):
        cls(**ARGUMENTS[cls], data_format=data_format).build(shape)


@pytest.mark.parametrize(
    "cls, arguments, message",
    [
        (AttentionAugmentedConv2D, {"filters": 4}, "less .*, filters=4"),
        (AttentionAugmentedConv2D, {"strides": 0}, "Received: strides=0"),
        (AttentionAugmentedConv2D, {"key_filters": 7}, "=7, num_heads=2"),
        (AttentionAugmentedConv2D, {"num_heads": 0}, "Received: num_heads=0"),
        (AttentionAugmentedConv2D, {"kernel_size": 4}, "odd.*kernel_size=4"),
        (AttentionAugmentedConv2D, {"table_size": (0, 1)}, "table_size=0"),
        (DoubleAttention, {"filters": 0}, "Received: filters=0"),
        (DoubleAttention, {"descriptors": 0}, "Received: descriptors=0"),
        (NonLocal, {"reduction": 17}, "at most .*Received: reduction=17"),
        (NonLocal, {"pool_size": 0}, "Received: pool_size=0"),
        (AttentionBranch, {"classes": 0}, "positive .*Received: classes=0"),
        (HierarchicalSplit, {"scales": 1}, "at least 2. Received: scales=1"),
        (HierarchicalSplit, {"scales": 3}, "divide .*16. Received: scales=3"),
        (HierarchicalSplit, {"merge": "mean"}, "Received: merge='mean'"),
        (HierarchicalSplit, {"chained": True}, "chained=True, strides=2"),
        (HierarchicalSplit, {"kernel_size": 4}, "odd.*kernel_size=4"),
        (PyConv2D, {"filters": 7}, "divide `filters`. Received: filters=7"),
        (PyConv2D, {"filters": (4,)}, "one entry .*Received: filters="),
        (PyConv2D, {"filters": (4, 0)}, "positive .*: filters=\\(4, 0"),
        (PyConv2D, {"groups": (1,)}, "one entry .*groups=\\(1,\\)"),
        (PyConv2D, {"groups": (1, 4)}, "divisible .*Received: groups=4"),
        (PyConv2D, {"kernel_sizes": (3, 4)}, "odd.*kernel_size=4"),
        (PyConv2D, {"filters": 6, "groups": (1, 3)}, "16. Received: groups="),
        (SelectiveKernel, {"dilations": (1,)}, "two .*dilations=\\(1,\\)"),
        (SelectiveKernel, {"dilations": (1, 0)}, "Received: dilations=\\(1, 0"),
        (SelectiveKernel, {"dilations": 2}, "Received: dilations=2"),
        (SelectiveKernel, {"groups": "3"}, "Received: groups='3'"),
        (PyConv2D, {"filters": "8"}, "Received: filters='8'"),
        (PyConv2D, {"kernel_sizes": 3}, "Received: kernel_sizes=3"),
        (FCA, {"frequencies": 2.5}, "Received: frequencies=2.5"),
        (SE, {"reduction": "8"}, "positive integer. Received: reduction='8'"),
        (SimAM, {"regularization": "1"}, "number. .* regularization='1'"),
        (SelectiveKernel, {"minimum": 0}, "Received: minimum=0"),
        (SelectiveKernel, {"groups": 3}, "groups=3"),
        (SplitAttention, {"radix": 0}, "Received: radix=0"),
        (SplitAttention, {"groups": 5}, "Received: groups=5, filters=12"),
        (SplitAttention, {"radix": 3}, "16. Received: radix=3, groups=2"),
        (BAM, {"reduction": 0}, "positive .*Received: reduction=0"),
        (BAM, {"reduction": 17}, "at most .*Received: reduction=17"),
        (BAM, {"dilation_rate": 0}, "positive .*Received: dilation_rate=0"),
        (CBAM, {"reduction": 17}, "at most .*Received: reduction=17"),
        (CBAM, {"kernel_size": 4}, "odd.*Received: kernel_size=4"),
        (CBAM, {"kernel_size": 0}, "positive .*Received: kernel_size=0"),
        (CoordinateAttention, {"reduction": 0}, "Received: reduction=0"),
        (EMA, {"groups": 0}, "positive .*Received: groups=0"),
        (EMA, {"groups": 3}, "divide .*16. Received: groups=3"),
        (FCA, {"grid": 6}, "at least 7. Received: grid=6"),
        (FCA, {"frequencies": ((0, 7),)}, "0 to 6.*Received: frequencies="),
        (FCA, {"frequencies": ()}, "0 to 6.*Received: frequencies="),
        (FCA, {"frequencies": [[[1], 2]]}, "0 to 6.*Received: frequencies="),
        (FCA, {"frequencies": ((0, 0),) * 3}, "16. Received: len.*=3"),
        (FCA, {"reduction": 17}, "at most .*Received: reduction=17"),
        (TripletAttention, {"kernel_size": 4}, "odd.*Received: kernel_size=4"),
        (GSoP, {"filters": 0}, "positive .*Received: filters=0"),
        (GSoP, {"strides": 0}, "positive .*Received: strides=0"),
        (PositionAttention, {"reduction": 17}, "at most .*reduction=17"),
        (SE, {"reduction": 0}, "positive integer. Received: reduction=0"),
        (SE, {"reduction": 1.5}, "positive integer. Received: reduction=1.5"),
        (SE, {"reduction": 17}, "at most .* 16. Received: reduction=17"),
        (ECA, {"kernel_size": 4}, "odd.* Received: kernel_size=4"),
        (ECA, {"kernel_size": -1}, "positive .* Received: kernel_size=-1"),
        (GlobalContext, {"reduction": 0}, "positive .*Received: reduction=0"),
        (GlobalContext, {"reduction": 17}, "at most .*Received: reduction=17"),
        (ShuffleAttention, {"groups": 0}, "positive .* Received: groups=0"),
        (ShuffleAttention, {"groups": 16}, "divide .* Received: groups=16"),
        (SimAM, {"regularization": 0}, "positive.* regularization=0"),
    ],
)
def test_bad_arguments_are_refused(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**{**ARGUMENTS[cls], **arguments}).build(SHAPE)


# Computing


@every_layer
def test_data_formats_train_alike(cls, draw_weights):
    results = []
    for data_format in FORMATS:
        layer = make_layer(cls, draw_weights, data_format=data_format)
        x = convert(images(), data_format)
        shapes = layer.compute_output_shape(x.shape)
        outputs = compiled(layer, training=True)(x)
        shapes = shapes if isinstance(outputs, tuple) else [shapes]
        outputs = keras.tree.flatten(outputs)
        assert [tuple(x.shape) for x in outputs] == [tuple(x) for x in shapes]
        outputs = [
            revert(x, data_format) if len(x.shape) == 4 else x for x in outputs
        ]
        results.append([*flat(outputs), *map(np.array, layer.get_weights())])
    for last, first in zip(*results, strict=True):
        np.testing.assert_allclose(last, first, rtol=1e-4, atol=1e-5)


@every_layer
def test_a_model_of_any_image_size_comes_back_from_a_file(
    cls, draw_weights, tmp_path
):
    model = make_model(make_layer(cls, draw_weights))
    path = tmp_path / "model.keras"
    model.save(path)
    copy = keras.saving.load_model(path)
    sizes = ((5, 6), (7, 4))
    if keras.backend.backend() == "jax":  # Which compiles each of them.
        sizes = sizes[1:]
    for height, width in sizes:
        x = np.random.default_rng(0).standard_normal((2, height, width, 16))
        outputs = [flat(run(x)) for run in (compiled(copy), compiled(model))]
        for a, b in zip(*outputs, strict=True):
            np.testing.assert_array_equal(a, b)
    layer = model.layers[-1]
    expected = layer.compute_output_shape((None, None, None, SHAPE[-1]))
    assert keras.tree.map_structure(lambda x: x.shape, model.output) == expected


def numpy_integers(arguments):
    return keras.tree.map_structure(
        lambda x: np.int64(x) if type(x) is int else x, arguments
    )


@every_layer
def test_integers_of_numpy_are_python_s_in_a_layer_and_its_file(cls, tmp_path):
    arguments = {**ARGUMENTS[cls], "data_format": "channels_last"}
    layer = cls(**numpy_integers(arguments), name="some")
    model = make_model(layer)
    assert json.dumps(layer.get_config(), default=plain) == json.dumps(
        cls(**arguments, name="some").get_config(), default=plain
    )
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    outputs = [flat(run(images())) for run in (compiled(copy), compiled(model))]
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_array_equal(a, b)


@every_layer
def test_mixed_precision_is_near(cls, draw_weights):
    expected = flat(compiled(make_layer(cls, draw_weights))(images()))
    layer = make_layer(cls, draw_weights, dtype="mixed_float16")
    outputs = keras.tree.flatten(compiled(layer)(images()))
    assert all(weight.dtype == "float32" for weight in layer.weights)
    for output, wanted in zip(outputs, expected, strict=True):
        assert keras.backend.standardize_dtype(output.dtype) == "float16"
        output = ops.convert_to_numpy(output).astype("float32")
        assert np.abs(output - wanted).max() <= 1e-2 * np.abs(wanted).max()


@every_layer
def test_gradients_are_slopes(cls, draw_weights, value_and_gradients, float64):
    layer = make_layer(cls, draw_weights, dtype="float64")
    x, random = images("float64"), np.random.default_rng(2)
    weights = layer.trainable_weights
    directions = [random.standard_normal(w.shape) for w in (x, *weights)]
    run = compiled(layer)
    factors = [random.standard_normal(y.shape) for y in flat(run(x))]
    factors = [ops.convert_to_tensor(factor) for factor in factors]

    def loss(outputs):
        outputs = keras.tree.flatten(outputs)
        return sum(ops.sum(y * f) for y, f in zip(outputs, factors))

    _, *gradients = value_and_gradients(layer, x, loss)
    gradients = [gradients[0], *gradients[1]]
    for weight, gradient in zip(weights, gradients[1:], strict=True):
        name = name_in(layer, weight)
        is_zero = np.abs(gradient).max() < 1e-9
        assert is_zero == (name in WITHOUT_GRADIENT), name
    values = layer.get_weights()
    sides = []
    for step in (1e-6, -1e-6):
        for weight, direction in zip(weights, directions[1:]):
            weight.assign_add(step * direction)
        moved = loss(run(x + step * directions[0]))
        sides.append(float(ops.convert_to_numpy(moved)))
        layer.set_weights(values)
    slope = (sides[0] - sides[1]) / 2e-6
    expected = sum((g * d).sum() for g, d in zip(gradients, directions))
    np.testing.assert_allclose(expected, slope, rtol=1e-5, atol=1e-5)
