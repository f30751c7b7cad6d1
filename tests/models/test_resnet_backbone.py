import keras
import numpy as np
import pytest

from keras_epsanet import AttentionSlot, ResNetBackbone
from keras_epsanet.attention import ECA, SE, GlobalContext

TINY = {"stackwise_num_blocks": (1, 2, 2), "stackwise_num_filters": (8, 16, 32)}


def tiny(attention=None, **kwargs):
    return ResNetBackbone(**{**TINY, "attention": attention, **kwargs})


@keras.saving.register_keras_serializable(package="tests")
def narrow(channels, stage):
    return SE(reduction=channels // 4)


GIVEN = {
    "none": None,
    "name": "se",
    "abn": "abn",
    "layer": ECA(kernel_size=3),
    "function": narrow,
    "slot": AttentionSlot(SE(reduction=2), "output", [(2, -1)], "gate"),
}


@pytest.mark.parametrize("given", GIVEN)
def test_survives_file_and_config(given, tmp_path, randomize):
    backbone = tiny(GIVEN[given], image_shape=(64, 64, 3), classes=6)
    randomize(backbone)
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3))
    expected = backbone.predict(x, verbose=0)
    copy = ResNetBackbone.from_config(backbone.get_config())
    copy.set_weights(backbone.get_weights())
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    for other in (copy, loaded):
        assert other.get_config() == backbone.get_config()
        assert other.pyramid_level_inputs == backbone.pyramid_level_inputs
        np.testing.assert_array_equal(other.predict(x, verbose=0), expected)


def test_levels_follow_the_attention_behind_a_stage():
    backbone = tiny(GIVEN["slot"])
    assert backbone.pyramid_level_inputs == {
        "P2": "conv2_block1_out",
        "P3": "conv3_block2_gate",
        "P4": "conv4_block2_out",
    }
    backbone = tiny("bam", stackwise_num_filters=(16, 16, 16), prefix="a_")
    assert backbone.pyramid_level_inputs == {
        "P2": "a_conv2_block1_bam",
        "P3": "a_conv3_block2_bam",
        "P4": "a_conv4_block2_bam",
    }
    shapes = [x.shape for x in backbone.pyramid_outputs.values()]
    assert shapes == [(None, None, None, 64)] * 3


def test_a_layer_that_is_given_is_not_part_of_the_backbone():
    layer = ECA(kernel_size=3)
    backbone = tiny(layer)
    assert not layer.built
    assert layer not in backbone._flatten_layers()
    kernels = [x for x in backbone.layers if isinstance(x, ECA)]
    assert len(kernels) == 5


@pytest.mark.parametrize("trainable", [True, False])
def test_frozen_stages(trainable):
    backbone = tiny("eca", freeze_stages=1, trainable=trainable)
    for layer in backbone.layers:
        if layer.name.startswith("conv"):
            frozen = layer.name.startswith(("conv1_", "conv2_"))
            assert layer.trainable == (trainable and not frozen), layer.name


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="counts are the same"
)
@pytest.mark.parametrize(
    "attention, trainable",
    # Of table 3's detectors, less their necks and heads.
    [
        (None, 41_527_712 - 18_245_024),
        ("se", 44_018_080 - 18_245_024),
        ("eca", 41_527_783 - 18_245_024),
        ("sa", 41_528_384 - 18_245_024),
        ("fca", 44_018_080 - 18_245_024),
        (SE(use_bias=True), 40_248_948 - 14_460_660),
        ("non_local", 46_272_752 - 20_888_304),
        (
            AttentionSlot(GlobalContext(), places=[2, 3, 4]),
            46_692_733 - 20_888_304,
        ),
    ],
)
def test_trainable_parameters_in_the_detectors_of_table_3(attention, trainable):
    backbone = ResNetBackbone.from_variant(
        "resnet50", attention, freeze_stages=1
    )
    found = sum(int(np.prod(w.shape)) for w in backbone.trainable_weights)
    assert found == trainable


@pytest.mark.parametrize(
    "make, error, message",
    [
        (
            lambda: ResNetBackbone("resnet50"),
            ValueError,
            r'ResNetBackbone.from_variant\("resnet50"\)',
        ),
        (
            lambda: ResNetBackbone.from_variant("resnet18"),
            ValueError,
            "`variant` must be one of resnet50, resnet101",
        ),
        (lambda: tiny(depth=3), TypeError, "ResNetBackbone has no such"),
        (lambda: tiny(freeze_stages=4), ValueError, "from 0 to 3"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_every_argument_of_a_variant_is_passed_on():
    make = ResNetBackbone.from_variant.__func__
    given = {
        "weights": "some.keras",
        "image_shape": (64, 64, 3),
        "freeze_stages": 2,
        "norm_eval": True,
        "prefix": "a_",
        "expansion": 2,
    }
    found = make(lambda **kwargs: kwargs, "resnet101", "sk", **given)
    assert found == {
        "name": "resnet101",
        "attention": "sk",
        "stackwise_num_blocks": (3, 4, 23, 3),
        "stackwise_num_filters": (128, 256, 512, 1024),
        **given,
    }
    found = make(lambda **kwargs: kwargs, "resnet50", name="mine")
    assert found["name"] == "mine" and found["image_shape"] is None
    for name, value in (
        ("attention", None),
        ("weights", None),
        ("freeze_stages", 0),
        ("norm_eval", False),
    ):
        assert found[name] == value


def test_every_argument_is_in_the_config():
    given = {
        **TINY,
        "attention": "eca",
        "expansion": 2,
        "stem_filters": (4, 4, 8),
        "stem_pool": False,
        "downsampling": "max",
        "classes": 7,
        "norm_eval": True,
        "freeze_stages": 1,
        "image_shape": (64, 96, 1),
        "data_format": "channels_last",
        "prefix": "a_",
        "name": "mine",
        "trainable": False,
        "synchronized": False,
        "input_tensor": None,
    }
    config = ResNetBackbone(**given, dtype="mixed_bfloat16").get_config()
    assert {name: config[name] for name in given} == given
    copy = ResNetBackbone.from_config(config)
    assert copy.dtype_policy.name == "mixed_bfloat16"
    norm = copy.get_layer("a_conv1_bn")
    assert norm.norm_eval and norm.dtype_policy.name == "mixed_bfloat16"
