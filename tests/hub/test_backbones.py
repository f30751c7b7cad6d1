"""Which backbone a network has, found from its layers."""

import keras
import numpy as np
import pytest

from keras_epsanet import (
    AttentionSlot,
    EPSANet,
    EPSANetBackbone,
    ResNet,
    ResNetBackbone,
    fuse,
)
from keras_epsanet.attention import SE
from keras_epsanet.hub import backbones
from keras_epsanet.models.named_attention import NAMED, NETWORKS

FRAME = {
    "stackwise_num_blocks": (1, 2, 2),
    "stackwise_num_filters": (64, 64, 128),
}
IMAGES = np.random.default_rng(0).standard_normal((2, 64, 96, 3))
IMAGES = IMAGES.astype("float32")


def features(model):
    """The feature map in front of the classifier."""
    (pool,) = (x for x in model.layers if x.name.endswith("avg_pool"))
    return keras.Model(model.input, pool.input)


def check(model, backbone):
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(backbone(IMAGES)),
        keras.ops.convert_to_numpy(features(model)(IMAGES)),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "attention",
    [None, *NAMED, SE(use_bias=True)],
    ids=lambda x: str(getattr(x, "name", x)),
)
def test_every_attention_is_found_again(attention, randomize):
    frame = FRAME
    if isinstance(attention, str):
        # Some stages of the published frames, such as that of ResNeSt.
        frame = FRAME | {
            k: v if k != "stackwise_num_filters" else v[:3]
            for k, v in NETWORKS.get(attention, {}).items()
        }
    model = randomize(
        ResNet(
            **frame,
            attention=attention,
            input_shape=(64, 96, 3),
            classes=3,
            prefix="left_",
        )
    )
    backbone = backbones.backbone_like(model)
    is_psa = attention == "psa"
    assert type(backbone) is (EPSANetBackbone if is_psa else ResNetBackbone)
    if isinstance(attention, str) and not is_psa:
        assert backbone.get_config()["attention"] == attention
    # Of these the weights depend on the size of the image.
    if attention not in ("fca", "aa"):
        assert backbone.input_shape == (None, None, None, 3)
    check(model, backbone)


def test_the_arguments_of_an_epsanet_are_found(randomize):
    arguments = {
        **FRAME,
        "kernel_sizes": (5, 3),
        "groups": (2, 1),
        "reduction": 8,
        "split_input": True,
        "layout": "channels_first",
        "expansion": 2,
    }
    model = randomize(EPSANet(**arguments, input_shape=(None, None, 3)))
    backbone = backbones.backbone_like(model)
    config = backbone.get_config()
    assert {name: config[name] for name in arguments} == arguments
    check(model, backbone)
    assert all(layer.trainable for layer in backbone.layers)


def test_what_is_for_training_alone_does_not_matter(make_classifier):
    model = make_classifier(synchronized=False, norm_eval=True)
    model.trainable = False
    backbone = backbones.backbone_like(model)
    assert backbone.trainable_weights
    assert not backbone.get_config()["norm_eval"]


@pytest.mark.parametrize(
    "given, wanted",
    [("mixed_bfloat16", "float32"), ("float64", "float64")],
)
def test_the_precision_is_that_of_the_weights(given, wanted, make_classifier):
    backbone = backbones.backbone_like(make_classifier(dtype=given))
    assert backbone.dtype_policy.name == wanted
    assert backbone.get_layer("conv1_conv").compute_dtype == wanted


def test_channels_and_formats_are_kept():
    gray = EPSANet(
        *((1, 1), (16, 32), (3, 5), (1, 4)),
        reduction=4,
        input_shape=(1, 32, 32),
        data_format="channels_first",
        classes=1,
    )
    backbone = backbones.backbone_like(gray)
    assert backbone.input_shape == (None, 1, None, None)
    assert backbone.data_format == "channels_first"


def test_other_networks_are_refused():
    slot = AttentionSlot(SE(), "residual", [2])
    model = ResNet(**FRAME, attention=slot, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="conv2_block1_se.* differ"):
        backbones.backbone_like(model)
    model = ResNet(**FRAME, input_shape=(32, 32, 3), name="mine")
    with pytest.raises(ValueError, match="the model mine_fused|the model mine"):
        backbones.backbone_like(fuse(model))
    slot = AttentionSlot(SE(), "output", name="se")
    model = ResNet(**FRAME, attention=slot, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="connected differently"):
        backbones.backbone_like(model)
    image = keras.Input((32, 32, 3))
    with pytest.raises(ValueError, match="must be an EPSANet, a ResNet"):
        backbones.backbone_like(keras.Model(image, image))
    psa = EPSANet(*((1, 1), (64, 64), (3, 5), (1, 4)), input_shape=(32, 32, 3))
    psa.get_layer("conv3_block1_psa").reduction = 8
    with pytest.raises(ValueError, match="which conv3_block1_psa differ"):
        backbones.backbone_like(psa)
