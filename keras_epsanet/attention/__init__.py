"""The attention that the paper compares with, for use in any network."""

from keras_epsanet.attention.eca import ECA
from keras_epsanet.attention.global_context import GlobalContext
from keras_epsanet.attention.se import SE
from keras_epsanet.attention.shuffle_attention import ShuffleAttention
from keras_epsanet.attention.simam import SimAM
from keras_epsanet.attention.srm import SRM

__all__ = [
    "ECA",
    "GlobalContext",
    "SE",
    "SRM",
    "ShuffleAttention",
    "SimAM",
]
