"""What PSA, SPC and SEWeight do with their sublayers."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import PSA, SPC, GroupedConv2D, SEWeight
from keras_epsanet.layers.composite import CompositeLayer

BACKEND = keras.backend.backend()
SHAPE = (2, 5, 6, 16)
PYRAMID = {"filters": 16, "kernel_sizes": (3, 3), "groups": (1, 1)}
LAYERS = {
    PSA: {**PYRAMID, "reduction": 2},
    SPC: PYRAMID,
    SEWeight: {"reduction": 2},
}
every_layer = pytest.mark.parametrize("cls", LAYERS)


def images(dtype="float32"):
    return np.random.default_rng(0).standard_normal(SHAPE).astype(dtype)


def make_layer(cls, build=True, **arguments):
    layer = cls(**LAYERS[cls], **arguments)
    if build:
        layer.build(SHAPE)
    return layer


def make_model(layer):
    image = keras.Input(SHAPE[1:])
    return keras.Model(image, layer(image))


def sublayers(layer):
    """All layers in a layer by their paths in it, sorted."""
    found = {}
    for part in layer._flatten_layers(include_self=False, recursive=False):
        found[part.name] = part
        inner = sublayers(part).items()
        found.update({f"{part.name}/{name}": x for name, x in inner})
    return dict(sorted(found.items()))


def revive(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def clone(model, tmp_path):
    copy = keras.models.clone_model(model)
    # Not `set_weights`: the order of a quantized layer's is another one.
    model.save_weights(tmp_path / "model.weights.h5")
    copy.load_weights(tmp_path / "model.weights.h5")
    return copy


every_copy = pytest.mark.parametrize("copy", [revive, clone])


# Frozen layers.


@every_layer
@pytest.mark.parametrize("build", [False, True])
def test_sublayers_of_a_frozen_layer_are_frozen(cls, build):
    layer = make_layer(cls, build=build, trainable=False)
    copy = cls.from_config(layer.get_config())
    late = make_layer(cls, build=False)
    late.trainable = False
    for frozen in (layer, copy, late):
        model = make_model(frozen)
        assert model.trainable_weights == []
        assert not any(x.trainable for x in sublayers(frozen).values())
        frozen.trainable = True
        assert len(model.trainable_weights) == len(model.weights) > 0


@every_copy
def test_flags_of_single_sublayers_survive(copy, tmp_path):
    layer = make_layer(PSA, name="psa")
    layer.spc.convolutions[1].trainable = False
    layer.se.fc1.trainable = False
    model = make_model(layer)
    revived = copy(model, tmp_path).get_layer("psa")
    flags = {name: x.trainable for name, x in sublayers(revived).items()}
    assert [name for name, flag in flags.items() if not flag] == [
        "se/fc1",
        "spc/conv_2",
    ]
    assert len(revived.trainable_weights) == 3


def test_flags_of_an_unbuilt_copy_can_be_overwritten():
    layer = make_layer(SEWeight)
    layer.fc1.trainable = False
    copy = SEWeight.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    copy.trainable = False
    copy.trainable = True
    copy.build(SHAPE)
    assert copy.fc1.trainable


def test_a_config_of_equal_sublayers_does_not_mention_them():
    layer = make_layer(PSA, trainable=False, dtype="mixed_bfloat16")
    assert "sublayers" not in layer.get_config()


# Dtype policies.


@every_layer
@pytest.mark.parametrize(
    "policy, build",
    [
        ("mixed_bfloat16", False),
        ("mixed_bfloat16", True),
        ("bfloat16", False),
        ("float64", False),
    ],
)
def test_a_new_dtype_policy_reaches_the_sublayers(cls, policy, build):
    layer = make_layer(cls, build=build)
    layer.dtype_policy = policy
    y = layer(images())
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    for name, part in sublayers(layer).items():
        assert part.dtype_policy.name == policy, name
    assert {w.dtype for w in layer.weights} == {layer.variable_dtype}
    assert cls.from_config(layer.get_config()).dtype_policy.name == policy
    reference = make_layer(cls)
    reference.set_weights([ops.cast(w, "float32") for w in layer.weights])
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(y, "float32")),
        ops.convert_to_numpy(reference(images())),
        atol=0.1 if "bfloat16" in policy else 1e-5,
    )


@every_layer
@pytest.mark.parametrize("policy", ["float64", "bfloat16"])
def test_variables_keep_their_type(cls, policy):
    layer = make_layer(cls)
    with pytest.raises(ValueError, match=f"float32 var.*Received: .*{policy}"):
        layer.dtype_policy = policy
    assert layer.dtype_policy.name == "float32"


@every_layer
@pytest.mark.parametrize("build", [False, True])
def test_a_whole_layer_cannot_have_a_quantized_policy(cls, build):
    with pytest.raises(ValueError, match="Only a part of.*int8_from_float32"):
        make_layer(cls, dtype="int8_from_float32")
    layer = make_layer(cls, build=build)
    with pytest.raises(ValueError, match="Only a part of.*int8_from_float32"):
        layer.dtype_policy = "int8_from_float32"
    assert layer.dtype_policy.name == "float32"


def test_policies_by_path():
    policies = keras.dtype_policies.DTypePolicyMap("float32")
    policies["psa/se/fc1"] = keras.dtype_policies.get("int8_from_float32")
    layer = make_layer(PSA, name="psa", dtype=policies)
    modes = {n: x.quantization_mode for n, x in sublayers(layer).items()}
    assert [n for n, mode in modes.items() if mode] == ["se/fc1"]


# Initializers, regularizers, constraints.


def kernels(layer):
    layers = layer._flatten_layers()
    return [x.kernel.numpy() for x in layers if hasattr(x, "kernel")]


@every_layer
@pytest.mark.parametrize(
    "initializer",
    [
        "he_normal",
        keras.initializers.RandomNormal(),
        keras.initializers.RandomNormal(seed=7),
        keras.initializers.RandomNormal(seed=-1),
        keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(7)),
        lambda shape, dtype: keras.random.normal(shape, dtype=dtype),
    ],
    ids=["name", "instance", "seed", "negative", "generator", "function"],
)
def test_no_two_kernels_begin_alike(cls, initializer):
    found = kernels(make_layer(cls, kernel_initializer=initializer))
    # Of the same seed, a larger array repeats the numbers of a smaller one.
    starts = [kernel.ravel()[:8] / np.std(kernel) for kernel in found]
    for i, start in enumerate(starts):
        assert not any(np.allclose(start, x, atol=0.1) for x in starts[:i])


@every_layer
def test_a_seed_gives_the_same_kernels_again(cls):
    initializer = keras.initializers.RandomNormal(seed=7)
    layer = make_layer(cls, kernel_initializer=initializer)
    copy = cls.from_config(layer.get_config())
    copy.build(SHAPE)
    for kernel, again in zip(kernels(layer), kernels(copy)):
        np.testing.assert_array_equal(kernel, again)


@every_layer
def test_regularizer_and_constraint_apply_to_every_kernel(cls, tmp_path):
    layer = make_layer(
        cls,
        kernel_initializer=keras.initializers.Constant(3),
        kernel_regularizer=keras.regularizers.L1(0.5),
        kernel_constraint=keras.constraints.MaxNorm(2),
        name="some",
    )
    layer = revive(make_model(layer), tmp_path).get_layer("some")
    found = [x for x in layer.weights if x.name == "kernel"]
    assert len(found) == len(layer.losses) == len(kernels(layer))
    for weight in found:
        np.testing.assert_array_equal(weight.numpy(), 3)
        assert weight.constraint.max_value == 2
    sizes = [np.prod(weight.shape) for weight in found]
    losses = [float(loss) for loss in layer.losses]
    np.testing.assert_allclose(sorted(losses), sorted(np.multiply(1.5, sizes)))


# Quantization and LoRA.


def quantize(mode):
    return lambda layer: layer.quantize(mode)


def enable_lora(layer):
    for part in (layer.se.fc1, layer.se.fc2, layer.spc.convolutions[0]):
        part.enable_lora(3, lora_alpha=6)
        part.lora_kernel_b.assign(ops.ones(part.lora_kernel_b.shape))


def enable_lora_of_int8(layer):
    layer.quantize("int8")
    layer.se.fc1.enable_lora(2)
    layer.se.fc1.lora_kernel_b.assign(ops.ones((2, 4)) / 8)


CHANGES = {
    "int8": quantize("int8"),
    "int4": quantize("int4"),
    "int4 by channel": lambda layer: layer.quantize(
        config=keras.quantizers.Int4QuantizationConfig(block_size=-1)
    ),
    "int8 weights": lambda layer: layer.quantize(
        config=keras.quantizers.Int8QuantizationConfig(
            activation_quantizer=None
        )
    ),
    "float8": quantize("float8"),
    "LoRA": enable_lora,
    "LoRA of int8": enable_lora_of_int8,
}


def state(layer):
    """What is saved of the sublayers, but for the weights."""
    return {
        name: (
            x.dtype_policy.name,
            getattr(x, "lora_rank", None),
            getattr(x, "lora_alpha", None),
            sorted((w.path, w.dtype, w.trainable) for w in x.weights),
        )
        for name, x in sublayers(layer).items()
    }


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@every_copy
def test_changed_sublayers_survive(copy, change, tmp_path):
    layer = make_layer(PSA, name="psa")
    before = state(layer)
    model = make_model(layer)
    change(layer)
    assert state(layer) != before
    revived = copy(model, tmp_path)
    assert state(revived.get_layer("psa")) == state(layer)
    np.testing.assert_allclose(
        ops.convert_to_numpy(revived(images())),
        ops.convert_to_numpy(model(images())),
        # The scale of the activations is computed anew, and LoRA rounded.
        atol=0.05 if change is enable_lora_of_int8 else 1e-6,
    )
    config = layer.get_config()
    assert PSA.from_config(config).get_config() == config


@pytest.mark.parametrize("cls", [PSA, SEWeight])
def test_quantize_reaches_the_dense_layers(cls):
    layer = make_layer(cls)
    expected = ops.convert_to_numpy(layer(images()))
    layer.quantize("int8")
    parts = sublayers(layer)
    assert {
        name.split("/")[-1] for name, x in parts.items() if x.quantization_mode
    } == {"fc1", "fc2"}
    y = ops.convert_to_numpy(layer(images()))
    assert 0 < np.abs(y - expected).max() < 0.1 * np.abs(expected).max()
    with pytest.raises(ValueError, match="already quantized"):
        layer.quantize("int8")


def test_a_quantization_config_reaches_the_dense_layers():
    layer = make_layer(PSA)
    config = keras.quantizers.Int4QuantizationConfig(block_size=4)
    layer.quantize(config=config)
    for dense in (layer.se.fc1, layer.se.fc2):
        assert dense.dtype_policy.name == "int4/4_from_float32"


def test_quantize_is_passed_on_as_it_is(monkeypatch):
    received = []
    monkeypatch.setattr(
        keras.layers.Dense,
        "quantize",
        lambda self, mode, **options: received.append((mode, options)),
    )
    layer = make_layer(SEWeight)
    config = keras.quantizers.Int8QuantizationConfig()
    layer.quantize("int8", type_check=False, config=config)
    assert received == 2 * [("int8", {"type_check": False, "config": config})]
    layer.quantize("int4")
    assert [mode for mode, _ in received[2:]] == ["int4", "int4"]
    assert received[-1][1]["type_check"]


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's parameters")
def test_pytorch_has_the_quantized_weights_only():
    layer = make_layer(PSA)
    layer.quantize("int8")
    for part in (layer, *sublayers(layer).values()):
        assert len(list(part.parameters())) == len(part.variables)


@pytest.mark.parametrize(
    "cls, arguments",
    [
        (keras.layers.Conv2D, {"filters": 4, "kernel_size": 3}),
        (GroupedConv2D, {"filters": 4, "kernel_size": 3}),
        (SPC, PYRAMID),
    ],
)
def test_convolutions_refuse_to_be_quantized_as_those_of_keras(cls, arguments):
    layer = cls(**arguments)
    layer.build(SHAPE)
    with pytest.raises(NotImplementedError, match="`quantize`"):
        layer.quantize("int8")


def test_a_quantized_layer_stays_quantized_in_another_precision():
    layer = make_layer(SEWeight)
    layer.quantize("int8")
    layer.dtype_policy = "mixed_bfloat16"
    late = SEWeight.from_config(layer.get_config())
    assert late.dtype_policy.name == "mixed_bfloat16"
    late.dtype_policy = "float32"
    late.build(SHAPE)
    assert layer.fc1.dtype_policy.name == "int8_from_mixed_bfloat16"
    assert late.fc1.dtype_policy.name == "int8_from_float32"
    expected = make_layer(SEWeight)
    for stage in ("fc1", "fc2"):
        of_int8, of_float = getattr(layer, stage), getattr(expected, stage)
        of_float.kernel.assign(
            ops.cast(of_int8.kernel, "float32") / of_int8.kernel_scale
        )
        of_float.bias.assign(of_int8.bias)
    y = layer(images())
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(y, "float32")),
        ops.convert_to_numpy(expected(images())),
        atol=0.02,
    )


def test_a_layer_without_parts_cannot_be_quantized():
    layer = CompositeLayer()
    layer.build(())
    with pytest.raises(NotImplementedError, match="CompositeLayer"):
        layer.quantize("int8")
