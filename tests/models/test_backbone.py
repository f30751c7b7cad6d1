import inspect
import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANetBackbone
from keras_epsanet.models.variants import MODEL_CONFIGS

TINY = {
    "stackwise_num_blocks": (1, 1, 1, 1),
    "stackwise_num_filters": (16, 16, 32, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize(
    "variant, parameters, frozen",
    [
        ("epsanet50_small", 20_512_715, 196_115),
        ("epsanet50_large", 25_850_518, 243_494),
        ("epsanet101_small", 36_851_279, 196_115),
        ("epsanet101_large", 47_543_198, 243_494),
    ],
)
def test_parameters_with_and_without_the_first_stage(
    variant, parameters, frozen
):
    backbone = EPSANetBackbone.from_variant(variant, freeze_stages=1)
    assert backbone.name == variant
    assert trainable(backbone) == parameters - frozen
    for layer in backbone.layers:
        layer.trainable = True
    assert trainable(backbone) == parameters


def test_pyramid_levels():
    backbone = EPSANetBackbone.from_variant("epsanet50_small")
    assert backbone.pyramid_level_inputs == {
        "P2": "conv2_block3_out",
        "P3": "conv3_block4_out",
        "P4": "conv4_block6_out",
        "P5": "conv5_block3_out",
    }
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    shapes = {
        level: tuple(features.shape)
        for level, features in pyramid(np.ones((1, 64, 96, 3))).items()
    }
    assert shapes == {
        "P2": (1, 16, 24, 256),
        "P3": (1, 8, 12, 512),
        "P4": (1, 4, 6, 1024),
        "P5": (1, 2, 3, 2048),
    }
    for level, name in backbone.pyramid_level_inputs.items():
        output = backbone.get_layer(name).output
        assert output is backbone.pyramid_outputs[level]


def train(backbone):
    """One large step of a small head on the backbone."""
    features = keras.layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(2)(features))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.random.default_rng(0).standard_normal((4, 32, 32, 3)) * 3 + 1
    model.fit(x, np.ones((4, 2)), verbose=0)


def changed(backbone, before):
    return {
        weight.path
        for weight, old in zip(backbone.weights, before)
        if np.abs(weight.numpy() - old).max() > 0
    }


@pytest.mark.parametrize("freeze_stages, norm_eval", [(1, False), (2, True)])
def test_frozen_stages_are_fixed_through_training(
    tmp_path, freeze_stages, norm_eval
):
    backbone = EPSANetBackbone(
        **TINY, freeze_stages=freeze_stages, norm_eval=norm_eval
    )
    backbone.save(tmp_path / "backbone.keras")
    reloaded = keras.saving.load_model(tmp_path / "backbone.keras")
    for model in (backbone, reloaded):
        before = [weight.numpy().copy() for weight in model.weights]
        train(model)
        paths = changed(model, before)
        frozen = tuple(f"conv{i}_" for i in range(1, freeze_stages + 2))
        assert not [path for path in paths if path.startswith(frozen)]
        assert "conv4_block1_1_conv/kernel" in paths
        moved = {path for path in paths if "moving_" in path}
        assert bool(moved) == (not norm_eval)
        # Scale and shift train in any case.
        assert "conv4_block1_1_bn/gamma" in paths
        assert "conv4_block1_1_bn/beta" in paths


def test_norm_eval_makes_training_mode_equal_to_inference():
    backbone = EPSANetBackbone(**TINY, norm_eval=True)
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(backbone(x, training=True)),
        ops.convert_to_numpy(backbone(x, training=False)),
    )


def test_keras_file_round_trip_in_a_fresh_process(
    run_python, randomize, tmp_path
):
    x = np.random.default_rng(0).standard_normal((2, 32, 64, 3))
    x = x.astype("float32")
    np.save(tmp_path / "x.npy", x)
    backbones = {
        dtype: EPSANetBackbone(
            **TINY,
            freeze_stages=1,
            norm_eval=True,
            image_shape=(None, 64, 3),
            dtype=dtype,
            name="backbone",
        )
        for dtype in ("float32", "mixed_bfloat16")
    }
    for dtype, backbone in backbones.items():
        randomize(backbone).save(tmp_path / f"{dtype}.keras")
    output = run_python(
        f"""
import keras, keras_epsanet, numpy as np
for dtype in {list(backbones)}:
    model = keras.saving.load_model(dtype + ".keras")
    y = keras.ops.cast(model(np.load("x.npy")), "float32")
    np.save(dtype + ".npy", keras.ops.convert_to_numpy(y))
    config = model.get_config()
    print(type(model).__name__, config["freeze_stages"], config["norm_eval"],
          len(model.trainable_weights))
"""
    )
    lines = output.splitlines()[-2:]
    for line, (dtype, backbone) in zip(lines, backbones.items(), strict=True):
        count = len(backbone.trainable_weights)
        assert line == f"EPSANetBackbone 1 True {count}"
        y = ops.convert_to_numpy(ops.cast(backbone(x), "float32"))
        np.testing.assert_array_equal(np.load(tmp_path / f"{dtype}.npy"), y)


# Every argument of the constructor, unlike its default.
ARGUMENTS = {
    "stackwise_num_blocks": (1, 2),
    "stackwise_num_filters": (24, 12),
    "kernel_sizes": (3, 5, 7),
    "groups": (1, 2, 4),
    "reduction": 4,
    "split_input": True,
    "synchronized": keras.backend.backend() == "tensorflow",
    "layout": "channels_first",
    "expansion": 2,
    "norm_eval": True,
    "freeze_stages": 1,
    "image_shape": (None, 40, 6),
    "data_format": "channels_last",
    "dtype": "float64",
    "prefix": "left_",
    "name": "left",
    "trainable": False,
}


def test_config_has_every_argument():
    parameters = inspect.signature(EPSANetBackbone.__init__).parameters
    names = set(parameters) - {"self", "kwargs"}
    # Weights are no part of a config, and a tensor is tested below.
    assert names == set(ARGUMENTS) | {"weights", "input_tensor"}
    config = EPSANetBackbone(**ARGUMENTS).get_config()
    assert set(config) == names - {"weights"} | {"layers"}
    policy = keras.dtype_policies.deserialize(config["dtype"])
    assert {**config, "dtype": policy.name} == {
        **ARGUMENTS,
        "input_tensor": None,
        "layers": {},
    }
    copy = EPSANetBackbone.from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config
    model = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(copy)
    )
    assert type(model) is EPSANetBackbone and model.get_config() == config


class Recorder(EPSANetBackbone):
    """Returns what it is called with."""

    def __new__(cls, **arguments):
        return arguments


@pytest.mark.parametrize("variant", MODEL_CONFIGS)
def test_a_variant_is_made_of_all_its_arguments(variant):
    assert Recorder.from_variant(variant) == {
        **MODEL_CONFIGS[variant],
        "name": variant,
        "weights": None,
        "image_shape": None,
        "freeze_stages": 0,
        "norm_eval": False,
    }
    given = {
        "weights": "some.keras",
        "image_shape": (64, 64, 3),
        "freeze_stages": 2,
        "norm_eval": True,
        "groups": (1, 1, 1, 1),
        "name": "mine",
        "dtype": "float64",
    }
    assert Recorder.from_variant(variant, **given) == {
        **MODEL_CONFIGS[variant],
        **given,
    }


def test_all_stages_may_be_frozen():
    stages = len(TINY["stackwise_num_blocks"])
    backbone = EPSANetBackbone(**TINY, freeze_stages=stages)
    assert backbone.trainable_weights == []
    backbone = EPSANetBackbone(**TINY, freeze_stages=stages - 1)
    names = {w.path.split("_")[0] for w in backbone.trainable_weights}
    assert names == {"conv5"}


def test_arguments_unless_told_otherwise():
    defaults = {
        "reduction": 16,
        "split_input": False,
        "synchronized": False,
        "layout": None,
        "expansion": 4,
        "norm_eval": False,
        "freeze_stages": 0,
        "image_shape": None,
        "data_format": "channels_last",
        "prefix": "",
        "trainable": True,
    }
    required = ((1, 1), (64, 64), (3, 5), None)
    plain = EPSANetBackbone(*required, name="some")
    assert plain.get_config()["groups"] is None
    written = EPSANetBackbone(*required, name="some", **defaults)
    assert describe(plain) == describe(written)
    assert plain.get_config() == written.get_config()
    assert plain.input_shape == (None, None, None, 3)


TRAINABLE = {"trainable": True}
OTHERS = {
    "stackwise_num_blocks": (2, 1),
    "stackwise_num_filters": (24, 24),
    "kernel_sizes": (3, 3, 7),
    "groups": (1, 1, 4),
    "reduction": 2,
    "layout": "channels_last",
    "expansion": 3,
    "freeze_stages": 0,
    "image_shape": (None, None, 6),
    "data_format": "channels_first",
    "dtype": "float32",
    "prefix": "right_",
    "name": "right",
}


@pytest.fixture(scope="module")
def described():
    return describe(EPSANetBackbone(**ARGUMENTS))


def describe(backbone):
    layers = [
        layer.get_config()
        for layer in backbone.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    shape = backbone.input_shape
    return backbone.name, backbone.trainable, shape, layers, flags(backbone)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_reaches_the_network(name, described):
    change = {name: OTHERS.get(name, not ARGUMENTS[name])}
    if name == "data_format":
        change["image_shape"] = (6, None, 40)
    if name == "freeze_stages":
        # What `trainable=False` freezes altogether anyway.
        described = describe(EPSANetBackbone(**{**ARGUMENTS, **TRAINABLE}))
        change.update(TRAINABLE)
    if name == "synchronized" and keras.backend.backend() != "tensorflow":
        pytest.skip("no other backend synchronizes")
    assert describe(EPSANetBackbone(**{**ARGUMENTS, **change})) != described


def through_file(backbone, path):
    backbone.save(path / "backbone.keras")
    return keras.saving.load_model(path / "backbone.keras")


def through_config(backbone, path):
    return EPSANetBackbone.from_config(backbone.get_config())


def through_clone(backbone, path):
    return keras.models.clone_model(backbone)


def flags(model):
    return {weight.path: weight.trainable for weight in model.weights}


COPIES = [through_file, through_config, through_clone]


def layer_flags(model):
    return {layer.name: layer.trainable for layer in model.layers[1:]}


@pytest.mark.parametrize("copy", COPIES)
def test_flags_set_by_hand_survive(copy, tmp_path):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1)
    backbone.get_layer("conv2_block1_3_conv").trainable = True
    for name in ("conv3_block1_1_conv", "conv3_block1_1_bn"):
        backbone.get_layer(name).trainable = False
    copied = copy(backbone, tmp_path)
    assert layer_flags(copied) == layer_flags(backbone)
    assert not copied.get_layer("conv3_block1_1_conv").kernel.trainable
    assert copied.get_layer("conv2_block1_3_conv").kernel.trainable


@pytest.mark.parametrize("copy", COPIES)
def test_a_frozen_backbone_stays_frozen_in_other_models(copy, tmp_path):
    backbone = EPSANetBackbone(**TINY)
    backbone.trainable = False
    backbone.get_layer("conv5_block1_3_bn").trainable = True
    assert copy is through_clone or backbone.get_config()["layers"].keys() == {
        "conv5_block1_3_bn"
    }
    copied = copy(backbone, tmp_path)
    pyramid = keras.Model(copied.input, copied.output)
    frozen = [layer for layer in pyramid.layers if not layer.trainable]
    assert len(frozen) == len(pyramid.layers) - 2  # Of the input and of one.
    assert not pyramid.get_layer("conv1_conv").kernel.trainable


@pytest.mark.parametrize("copy", [through_file, through_config])
def test_a_backbone_that_is_thawed_survives(copy, tmp_path):
    backbone = EPSANetBackbone(**TINY, freeze_stages=2)
    backbone.trainable = True
    assert flags(copy(backbone, tmp_path)) == flags(backbone)


@pytest.mark.parametrize("copy", [through_file, through_config])
def test_states_within_layers_survive(copy, tmp_path, randomize):
    backbone = randomize(EPSANetBackbone(**TINY, image_shape=(32, 32, 3)))
    psa = backbone.get_layer("conv4_block1_psa")
    psa.trainable = False
    psa.se.fc2.trainable = True
    backbone.get_layer("conv3_block1_psa").se.fc1.quantize("int8")
    backbone.get_layer("conv2_block1_psa").se.fc1.enable_lora(2)
    copied = copy(backbone, tmp_path)
    assert flags(copied) == flags(backbone)
    quantized = copied.get_layer("conv3_block1_psa").se.fc1
    assert quantized.quantization_mode == "int8"
    if copy is through_file:
        x = np.ones((1, 32, 32, 3))
        y, expected = (
            keras.ops.convert_to_numpy(model(x)) for model in (copied, backbone)
        )
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_what_else_a_layer_was_given_survives(tmp_path, randomize):
    backbone = randomize(EPSANetBackbone(**TINY))
    backbone.get_layer("conv3_block1_1_conv").enable_lora(2)
    backbone.get_layer("conv3_block1_1_bn").momentum = 0.5
    copied = through_file(backbone, tmp_path)
    assert copied.get_layer("conv3_block1_1_conv").lora_rank == 2
    assert copied.get_layer("conv3_block1_1_bn").momentum == 0.5
    assert flags(copied) == flags(backbone)


def test_trainable_false_freezes_every_layer():
    backbone = EPSANetBackbone(**TINY, trainable=False)
    assert not backbone.trainable
    assert not any(flags(backbone).values())


def test_a_config_of_the_first_version_loads():
    config = EPSANetBackbone(**TINY, freeze_stages=1).get_config()
    for key in ("layers", "prefix", "input_tensor"):
        del config[key]
    copy = EPSANetBackbone.from_config(config)
    assert flags(copy) == flags(EPSANetBackbone(**TINY, freeze_stages=1))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64", None])
def test_model_and_input_have_the_dtype(dtype):
    backbone = EPSANetBackbone(**TINY, dtype=dtype)
    assert backbone.dtype_policy.name == (dtype or "float32")
    expected = "float64" if dtype == "float64" else "float32"
    assert backbone.input.dtype == expected
    image = np.full((1, 32, 32, 3), 1 + 1e-12)
    stem = keras.Model(backbone.input, backbone.input)
    assert (ops.convert_to_numpy(stem(image)) == image).all() == (
        dtype == "float64"
    )


def test_input_tensor_and_the_layers_before_it_survive(tmp_path, randomize):
    image = keras.Input((32, 32, 1), name="gray")
    x = keras.layers.Conv2D(3, 1, name="colors")(image)
    backbone = EPSANetBackbone(**TINY, input_tensor=x)
    randomize(backbone)
    backbone.get_layer("colors").trainable = False
    assert backbone.input is image
    assert backbone.get_config()["layers"] == {}
    assert backbone.get_config()["image_shape"] == (32, 32, 3)
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 1))
    expected = ops.convert_to_numpy(backbone(images))
    copy = through_file(backbone, tmp_path)
    assert copy.input.name == "gray" and copy.input_shape[1:] == (32, 32, 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(copy(images)), expected)
    assert flags(copy) == flags(backbone)
    pyramid = keras.Model(copy.input, copy.pyramid_outputs)
    assert pyramid(images)["P2"].shape == (2, 8, 8, 64)


class Brighter(keras.layers.Layer):
    """Not known to Keras by its name."""

    def call(self, inputs):
        return inputs + 1


def test_layers_before_it_may_be_custom_objects():
    image = keras.Input((32, 32, 3))
    backbone = EPSANetBackbone(**TINY, input_tensor=Brighter()(image))
    copy = EPSANetBackbone.from_config(
        backbone.get_config(), custom_objects={"Brighter": Brighter}
    )
    assert isinstance(copy.layers[1], Brighter)


def test_two_backbones_stand_in_one_model():
    image = keras.Input((32, 32, 3))
    left, right = (
        EPSANetBackbone(**TINY, input_tensor=image, prefix=prefix)
        for prefix in ("left_", "right_")
    )
    both = keras.layers.Concatenate()([left.output, right.output])
    model = keras.Model(image, both)
    assert len(model.weights) == 2 * len(left.weights)
    assert left.pyramid_level_inputs["P3"] == "left_conv3_block1_out"
    frozen = EPSANetBackbone(**TINY, prefix="left_", freeze_stages=1)
    plain = EPSANetBackbone(**TINY, freeze_stages=1)
    assert trainable(frozen) == trainable(plain)
    for layer in left.layers[1:]:
        assert layer.name.startswith("left_")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"variant": "resnet50"}, "one of epsanet50_small.*variant='resnet50'"),
        ({"freeze_stages": 5}, "from 0 to 4. Received: freeze_stages=5"),
        ({"freeze_stages": -1}, "Received: freeze_stages=-1"),
        ({"freeze_stages": 1.0}, "Received: freeze_stages=1.0"),
        ({"image_shape": (16, 16, 3)}, "at least 32.*: image_shape="),
        ({"image_shape": 64}, "`image_shape` must.*: image_shape=64"),
        ({"weights": "imagenet"}, "nobody has published"),
        ({"prefix": "left/"}, "prefix='left/'"),
        ({"input_tensor": np.ones((1, 64, 64, 3))}, "must be a Keras tensor"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EPSANetBackbone.from_variant(
            **{"variant": "epsanet50_small", **arguments}
        )


def test_a_variant_in_place_of_the_blocks_names_from_variant():
    message = r'from_variant\("epsanet50_small"\).*Received'
    with pytest.raises(ValueError, match=message):
        EPSANetBackbone("epsanet50_small")
    with pytest.raises(ValueError, match=message):
        EPSANetBackbone(stackwise_num_blocks="epsanet50_small")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"freeze_stage": 1}, "`freeze_stages` instead of `freeze_stage`"),
        ({"input_shape": (64, 64, 3)}, "`image_shape` instead"),
        ({"num_classes": 3}, "no such argument. Received: num_classes=3"),
    ],
)
def test_unknown_arguments_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        EPSANetBackbone(**TINY, **arguments)


def test_input_tensor_of_another_shape_is_refused():
    image = keras.Input((64, 64, 3))
    with pytest.raises(ValueError, match=r"input_shape=\(32, 32, 3\)"):
        EPSANetBackbone(**TINY, input_tensor=image, image_shape=(32, 32, 3))


def test_channels_first():
    backbone = EPSANetBackbone(**TINY, data_format="channels_first")
    assert backbone.input_shape == (None, 3, None, None)
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    shapes = [tuple(x.shape) for x in pyramid(np.ones((1, 3, 32, 64))).values()]
    assert shapes == [
        (1, 64, 8, 16),
        (1, 64, 4, 8),
        (1, 128, 2, 4),
        (1, 128, 1, 2),
    ]
    variant = EPSANetBackbone.from_variant(
        "epsanet50_small", data_format="channels_first"
    )
    assert variant.input_shape == (None, 3, None, None)
