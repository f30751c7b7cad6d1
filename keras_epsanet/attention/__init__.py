"""Attention for any network: what the paper compares with, and later ones."""

from keras_epsanet.attention.attention_augmented_conv2d import (
    AttentionAugmentedConv2D,
)
from keras_epsanet.attention.attention_branch import AttentionBranch
from keras_epsanet.attention.bam import BAM
from keras_epsanet.attention.cbam import CBAM
from keras_epsanet.attention.channel_attention import ChannelAttention
from keras_epsanet.attention.coordinate_attention import CoordinateAttention
from keras_epsanet.attention.double_attention import DoubleAttention
from keras_epsanet.attention.eca import ECA
from keras_epsanet.attention.ema import EMA
from keras_epsanet.attention.fca import FCA
from keras_epsanet.attention.global_context import GlobalContext
from keras_epsanet.attention.gsop import GSoP
from keras_epsanet.attention.hierarchical_split import HierarchicalSplit
from keras_epsanet.attention.non_local import NonLocal
from keras_epsanet.attention.position_attention import PositionAttention
from keras_epsanet.attention.pyconv2d import PyConv2D
from keras_epsanet.attention.se import SE
from keras_epsanet.attention.selective_kernel import SelectiveKernel
from keras_epsanet.attention.shuffle_attention import ShuffleAttention
from keras_epsanet.attention.simam import SimAM
from keras_epsanet.attention.split_attention import SplitAttention
from keras_epsanet.attention.srm import SRM
from keras_epsanet.attention.triplet_attention import TripletAttention

__all__ = [
    "SplitAttention",
    "SelectiveKernel",
    "PyConv2D",
    "HierarchicalSplit",
    "AttentionBranch",
    "NonLocal",
    "GSoP",
    "PositionAttention",
    "ChannelAttention",
    "DoubleAttention",
    "AttentionAugmentedConv2D",
    "TripletAttention",
    "FCA",
    "EMA",
    "CoordinateAttention",
    "CBAM",
    "BAM",
    "ECA",
    "GlobalContext",
    "SE",
    "SRM",
    "ShuffleAttention",
    "SimAM",
]
