"""What the publishers of ResNets with attention call their weights.

A name in these tables is that of a layer, without `.weight`, or of a
variable. `{0}` in it is a number from 0, `{1}` the same one from 1.
"""

from typing import NamedTuple

from keras_epsanet import attention as layers
from keras_epsanet.layers import PSA


class Dialect(NamedTuple):
    """The names of one publisher.

    Attributes:
        names: Dictionary from the parts of an attention layer to names, or
            to pairs of a name and a shape of more axes. A part is a path of
            attributes, whose last one is `*` for all of a list.
        place: What stands before these names; `{stage}` and `{block}` are
            filled in, the stage from 1, the block from 0.
        pointwise: Whether dense stages are 1×1 convolutions in PyTorch.
        in_block: Dictionary from what stands behind `conv2_block1_` in the
            names of this package to names that are not torchvision's.
        single: Name of the only part of a list of one, `None` for the usual
            one.
        constants: Dictionary from methods of the layer, which return arrays
            that PyTorch's file holds beside the weights, to names.
        is_reversed: Whether what is behind the attention has the channels
            of its scales in reverse.
    """

    names: dict
    place: str = "layer{stage}.{block}."
    pointwise: bool = False
    in_block: dict = {}
    single: str | None = None
    constants: dict = {}
    is_reversed: bool = False


class Published(NamedTuple):
    """An attention whose weights are public."""

    layer: type
    dialects: tuple  # The first one is written.


def _mlp(first, second, **kwargs):
    return Dialect({"mlp.fc1": first, "mlp.fc2": second}, **kwargs)


def _triplet(attribute, cw, hc, hw, inner):
    return Dialect(
        {
            f"gate_{plane}.{part}": f"{attribute}.{gate}.{inner}.{name}"
            for plane, gate in (("cw", cw), ("hc", hc), ("hw", hw))
            for part, name in (("conv", "conv"), ("norm", "bn"))
        }
    )


_TRIPLET_GATES = (
    ("ChannelGateH", "ChannelGateW", "SpatialGate", "spatial"),
    ("cw", "hc", "hw", "conv"),
)
_CHANNEL_GATE = "channel_att.gate_c.gate_c"
_SPATIAL_GATE = "spatial_att.gate_s.gate_s"
_GC = "context_block.channel_add_conv"
_TIMM_BLOCK = {
    "1_conv": "conv1.conv",
    "1_bn": "conv1.bn",
    "3_conv": "conv3.conv",
    "3_bn": "conv3.bn",
}

# Without attention: torchvision, timm, MMPretrain.
PLAIN = Dialect({})
# The keys are the names that `attention=` takes.
PUBLISHED = {
    "psa": Published(
        PSA,
        (
            # murufeng/EPSANet
            Dialect(
                {
                    "spc.convolutions.*": "conv2.conv_{1}",
                    "se.fc1": "conv2.se.fc1",
                    "se.fc2": "conv2.se.fc2",
                },
                pointwise=True,
                is_reversed=True,
            ),
        ),
    ),
    "se": Published(
        layers.SE,
        (
            # moskomule/senet.pytorch, implus/PytorchInsight
            _mlp("se.fc.0", "se.fc.2"),
            # timm
            _mlp("se.fc1", "se.fc2", pointwise=True),
            # MMPretrain
            _mlp("se_layer.conv1.conv", "se_layer.conv2.conv", pointwise=True),
            # hyunjaelee410/style-based-recalibration-module
            _mlp("rclb.fc.0", "rclb.fc.2"),
        ),
    ),
    "cbam": Published(
        layers.CBAM,
        (
            # Jongchan/attention-module, implus/PytorchInsight
            Dialect(
                {
                    "mlp.fc1": "cbam.ChannelGate.mlp.1",
                    "mlp.fc2": "cbam.ChannelGate.mlp.3",
                    "gate.conv": "cbam.SpatialGate.spatial.conv",
                    "gate.norm": "cbam.SpatialGate.spatial.bn",
                }
            ),
        ),
    ),
    "bam": Published(
        layers.BAM,
        (
            # Jongchan/attention-module, implus/PytorchInsight
            Dialect(
                {
                    "fc1": f"{_CHANNEL_GATE}_fc_0",
                    "norm": f"{_CHANNEL_GATE}_bn_1",
                    "fc2": f"{_CHANNEL_GATE}_fc_final",
                    "reduce": f"{_SPATIAL_GATE}_conv_reduce0",
                    "norms.0": f"{_SPATIAL_GATE}_bn_reduce0",
                    "dilated.0": f"{_SPATIAL_GATE}_conv_di_0",
                    "norms.1": f"{_SPATIAL_GATE}_bn_di_0",
                    "dilated.1": f"{_SPATIAL_GATE}_conv_di_1",
                    "norms.2": f"{_SPATIAL_GATE}_bn_di_1",
                    "final": f"{_SPATIAL_GATE}_conv_final",
                },
                place="bam{stage}.",
            ),
        ),
    ),
    "abn": Published(
        layers.AttentionBranch,
        (
            # machine-perception-robotics-group/attention_branch_network
            Dialect(
                {
                    "norm": "bn_att",
                    "class_conv": "att_conv",
                    "norm_classes": "bn_att2",
                    "logit_conv": "att_conv2",
                    "map_conv": "att_conv3",
                    "norm_map": "bn_att3",
                },
                place="",
            ),
        ),
    ),
    "gc": Published(
        layers.GlobalContext,
        (
            # MMDetection, xvjiarui/GCNet
            Dialect(
                {
                    "mask_conv": "context_block.conv_mask",
                    "fc1": f"{_GC}.0",
                    "norm": (f"{_GC}.1", (-1, 1, 1)),
                    "fc2": f"{_GC}.3",
                },
                pointwise=True,
            ),
        ),
    ),
    "triplet": Published(
        layers.TripletAttention,
        # landskape-ai/triplet-attention, in all its versions
        tuple(
            _triplet(attribute, *gates)
            for attribute in ("triplet_attention", "triplet", "pcam")
            for gates in _TRIPLET_GATES
        ),
    ),
    "eca": Published(
        layers.ECA,
        # BangguWu/ECANet
        (Dialect({"conv": "eca.conv"}),),
    ),
    "fca": Published(
        layers.FCA,
        (
            # cfzd/FcaNet
            _mlp(
                "att.fc.0",
                "att.fc.2",
                constants={"cosine_mask": "att.dct_layer.weight"},
            ),
        ),
    ),
    "srm": Published(
        layers.SRM,
        # hyunjaelee410/style-based-recalibration-module
        (Dialect({"style_weight": "rclb.cfc", "norm": "rclb.bn"}),),
    ),
    "sa": Published(
        layers.ShuffleAttention,
        (
            # wofmanaf/SA-Net
            Dialect(
                {
                    "channel_weight": ("sa.cweight", (1, -1, 1, 1)),
                    "channel_bias": ("sa.cbias", (1, -1, 1, 1)),
                    "spatial_weight": ("sa.sweight", (1, -1, 1, 1)),
                    "spatial_bias": ("sa.sbias", (1, -1, 1, 1)),
                    "gamma": "sa.gn.weight",
                    "beta": "sa.gn.bias",
                }
            ),
        ),
    ),
    "pyconv": Published(
        layers.PyConv2D,
        # iduta/pyconv
        (
            Dialect(
                {"convolutions.*": "conv2.conv2_{1}"},
                single="conv2",
            ),
        ),
    ),
    "sk": Published(
        layers.SelectiveKernel,
        (
            # timm; the authors' own files are Caffe's
            Dialect(
                {
                    "convolutions.*": "conv2.paths.{0}.conv",
                    "norms.*": "conv2.paths.{0}.bn",
                    "fc1": "conv2.attn.fc_reduce",
                    "norm": "conv2.attn.bn",
                    "fc2": "conv2.attn.fc_select",
                },
                pointwise=True,
                in_block=_TIMM_BLOCK,
            ),
        ),
    ),
    "split": Published(
        layers.SplitAttention,
        (
            # zhanghang1989/ResNeSt, timm
            Dialect(
                {
                    "conv": "conv2.conv",
                    "norm": "conv2.bn0",
                    "fc1": "conv2.fc1",
                    "norm_fc1": "conv2.bn1",
                    "fc2": "conv2.fc2",
                }
            ),
        ),
    ),
    "res2net": Published(
        layers.HierarchicalSplit,
        # Res2Net/Res2Net-PretrainedModels, timm
        (Dialect({"convolutions.*": "convs.{0}", "norms.*": "bns.{0}"}),),
    ),
}
# What else a file may be, by a name in it.
FOREIGN = {
    "conv2g.weight": (
        "PytorchInsight's network with selective kernels, whose first path "
        "has no groups, unlike that of SKNet"
    ),
    "last_linear.weight": (
        "one of timm's legacy networks, whose stride is in the first 1×1 "
        "convolution"
    ),
}
