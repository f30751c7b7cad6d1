import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANetBackbone

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
    backbone = EPSANetBackbone.from_variant(variant)
    assert backbone.name == variant
    assert trainable(backbone) == parameters
    backbone = EPSANetBackbone.from_variant(variant, freeze_stages=1)
    assert trainable(backbone) == parameters - frozen


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


@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_keras_file_round_trip_in_a_fresh_process(
    run_python, randomize, tmp_path, dtype
):
    backbone = EPSANetBackbone(
        **TINY,
        freeze_stages=1,
        norm_eval=True,
        image_shape=(None, 64, 3),
        dtype=dtype,
        name="backbone",
    )
    randomize(backbone)
    backbone.save(tmp_path / "backbone.keras")
    x = np.random.default_rng(0).standard_normal((2, 32, 64, 3))
    np.save(tmp_path / "x.npy", x.astype("float32"))
    output = run_python(
        """
import keras, keras_epsanet, numpy as np
model = keras.saving.load_model("backbone.keras")
assert type(model) is keras_epsanet.EPSANetBackbone
y = keras.ops.cast(model(np.load("x.npy")), "float32")
np.save("y.npy", keras.ops.convert_to_numpy(y))
config = model.get_config()
print(config["freeze_stages"], config["norm_eval"],
      len(model.trainable_weights))
"""
    )
    count = len(backbone.trainable_weights)
    assert output.split()[-3:] == ["1", "True", str(count)]
    y = ops.cast(backbone(x.astype("float32")), "float32")
    np.testing.assert_array_equal(
        np.load(tmp_path / "y.npy"), ops.convert_to_numpy(y)
    )


def test_config_round_trip():
    backbone = EPSANetBackbone(
        **TINY, freeze_stages=2, split_input=True, expansion=2, name="b"
    )
    config = backbone.get_config()
    copy = EPSANetBackbone.from_config(config)
    assert copy.get_config() == config
    assert trainable(copy) == trainable(backbone)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"variant": "resnet50"}, "one of epsanet50_small.*variant=resnet50"),
        ({"freeze_stages": 5}, "from 0 to 4. Received: freeze_stages=5"),
        ({"freeze_stages": -1}, "Received: freeze_stages=-1"),
        ({"freeze_stages": 1.0}, "Received: freeze_stages=1.0"),
        ({"image_shape": (16, 16, 3)}, "at least 32"),
        ({"weights": "imagenet"}, "nobody has published"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EPSANetBackbone.from_variant(
            **{"variant": "epsanet50_small", **arguments}
        )


def test_channels_first():
    backbone = EPSANetBackbone(**TINY, data_format="channels_first")
    assert backbone.input_shape == (None, 3, None, None)
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    shapes = [tuple(x.shape) for x in pyramid(np.ones((1, 3, 32, 64))).values()]
    assert shapes == [
        (1, 64, 8, 16), (1, 64, 4, 8), (1, 128, 2, 4), (1, 128, 1, 2)
    ]
    variant = EPSANetBackbone.from_variant(
        "epsanet50_small", data_format="channels_first"
    )
    assert variant.input_shape == (None, 3, None, None)
