import keras
import numpy as np
import pytest
from keras import ops
from mmdet_golden import make_array, read_shapes

from keras_epsanet import EPSANetBackbone
from keras_epsanet.attention import SE, GlobalContext
from keras_epsanet.detection.mmdet_backbone import (
    backbone_entries,
    plan_backbone,
)
from keras_epsanet.models.attention_slot import AttentionSlot
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.weights.entries import assign_entries

SMALL = (1, 1, 1, 1), (16, 16, 16, 16)


def make_state(backbone):
    return {
        key.removeprefix("backbone."): make_array(key, shape)
        for key, shape in read_shapes("mask_rcnn", backbone).items()
        if key.startswith("backbone.")
    }


def torch_forward(state, x, groups=1):
    """Feature maps of the stages, by PyTorch's functions."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    state = {key: torch.tensor(array) for key, array in state.items()}

    def convolve(x, name, norm, **options):
        x = functional.conv2d(x, state[f"{name}.weight"], **options)
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{norm}.{p}"] for p in parts))

    def attend(x, block):
        """MMCV's ContextBlock, with `att` and `channel_add`."""
        name = f"{block}.context_block"
        if f"{name}.conv_mask.weight" not in state:
            return x
        n, c = x.shape[:2]
        weights = [f"{name}.conv_mask.{k}" for k in ("weight", "bias")]
        mask = functional.conv2d(x, *(state[k] for k in weights))
        mask = mask.reshape(n, 1, -1).softmax(-1)
        y = (x.reshape(n, c, -1) * mask).sum(-1)[..., None, None]
        name += ".channel_add_conv"
        y = functional.conv2d(
            y, state[f"{name}.0.weight"], state[f"{name}.0.bias"]
        )
        y = functional.layer_norm(
            y, y.shape[1:], state[f"{name}.1.weight"], state[f"{name}.1.bias"]
        ).relu()
        return x + functional.conv2d(
            y, state[f"{name}.3.weight"], state[f"{name}.3.bias"]
        )

    x = torch.tensor(x.transpose(0, 3, 1, 2))
    x = convolve(x, "conv1", "bn1", stride=2, padding=3).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    levels = []
    for stage in range(1, 5):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = convolve(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = convolve(
                y,
                f"{name}.conv2",
                f"{name}.bn2",
                stride=stride,
                padding=1,
                groups=groups,
            ).relu()
            y = convolve(y, f"{name}.conv3", f"{name}.bn3")
            y = attend(y, name)
            if block == 0:
                shortcut = f"{name}.downsample"
                x = convolve(x, f"{shortcut}.0", f"{shortcut}.1", stride=stride)
            x = (x + y).relu()
            block += 1
        levels.append(x.numpy().transpose(0, 2, 3, 1))
    return levels


def levels_of(backbone, x):
    model = keras.Model(backbone.input, backbone.pyramid_outputs)
    levels = model(x)
    return [ops.convert_to_numpy(levels[f"P{i}"]) for i in range(2, 6)]


def load(backbone, state):
    plan = plan_backbone(backbone, state)
    if plan is None:
        assign_entries(backbone_entries(backbone, state), state)
    for variable, array in plan or ():
        variable.assign(array)


def make_gc():
    # In blocks of stages 2 to 4, as the published files have it.
    slot = AttentionSlot(GlobalContext(16), "residual", [2, 3, 4], name="gc")
    return ResNetBackbone.from_variant("resnet50", slot)


def make_hub():
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.ResNetBackbone(
        [64],
        [7],
        [64, 128, 256, 512],
        [3, 4, 6, 3],
        [1, 2, 2, 2],
        "bottleneck_block",
        data_format="channels_last",
    )


MAKERS = {
    "resnet50": lambda: ResNetBackbone.from_variant("resnet50"),
    "resnet101": lambda: ResNetBackbone.from_variant("resnet101"),
    "resnet50_gc": make_gc,
    "hub": make_hub,
    "one_scale": lambda: EPSANetBackbone(
        (3, 4, 6, 3), (64, 128, 256, 512), (3,), (1,)
    ),
    "resnext101_32x4d": lambda: EPSANetBackbone.from_variant(
        "epsanet101_large"
    ),
}
LARGE = ("resnet101", "resnext101_32x4d")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(x, marks=pytest.mark.large if x in LARGE else ())
        for x in MAKERS
    ],
)
def test_backbones_compute_what_pytorch_s_do(kind):
    name = "resnet50" if kind in ("hub", "one_scale") else kind
    state = make_state(name)
    backbone = MAKERS[kind]()
    load(backbone, state)
    x = np.random.default_rng(0).normal(size=(1, 45, 64, 3)).astype("float32")
    groups = 32 if "32x4d" in kind else 1
    for found, wanted in zip(
        levels_of(backbone, x), torch_forward(state, x, groups), strict=True
    ):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max()
        )


def test_every_entry_has_a_variable():
    for kind in ("resnet50", "resnet50_gc", "hub"):
        backbone = MAKERS[kind]()
        state = make_state(kind.replace("hub", "resnet50"))
        entries = backbone_entries(backbone, state)
        wanted = {x for x in state if not x.endswith("num_batches_tracked")}
        assert {entry.key for entry in entries} == wanted
        assert {id(entry.variable) for entry in entries} == {
            id(weight) for weight in backbone.weights
        }


def test_a_resnet_that_an_epsanet_cannot_compute_is_refused():
    source = EPSANetBackbone(*SMALL, (3,), (1,), expansion=4)
    state = {
        entry.key.replace("conv2.conv_1", "conv2"): entry.to_torch()
        for entry in backbone_entries(source)
        if ".se." not in entry.key
    }
    target = EPSANetBackbone(*SMALL, (3, 5), (1, 4), expansion=4, reduction=4)
    before = [ops.convert_to_numpy(w) for w in target.weights]
    with pytest.raises(ValueError, match="compute what ResNet-14.*Received"):
        plan_backbone(target, state)
    for old, weight in zip(before, target.weights):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(weight))
    assert plan_backbone(source, state) is not None


def test_names_of_one_s_own_attention_are_not_known():
    backbone = ResNetBackbone(*SMALL, SE(4))
    assert any(".se.fc" in x.key for x in backbone_entries(backbone))
    backbone = ResNetBackbone(*SMALL, keras.layers.Conv2D(64, 1))
    with pytest.raises(ValueError, match="Received: a network with Conv2D"):
        backbone_entries(backbone)


def test_another_backbone_is_refused():
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(image))
    with pytest.raises(ValueError, match="Received: .*keras.*Functional$"):
        backbone_entries(model)
    keras_hub = pytest.importorskip("keras_hub")
    basic = keras_hub.models.ResNetBackbone(
        [64], [7], [64], [1], [1], "basic_block", data_format="channels_last"
    )
    with pytest.raises(ValueError, match="Received: .*keras_hub.*ResNetBack"):
        backbone_entries(basic)
