"""Arguments of every layer of attention that its tests make it with."""

from keras_epsanet import attention

# A value for every argument, none of them its default.
ARGUMENTS = {
    attention.AttentionBranch: {"classes": 3},
    attention.HierarchicalSplit: {
        "scales": 2,
        "merge": "concat",
        "kernel_size": 5,
        "strides": 2,
        "chained": False,
    },
    attention.PyConv2D: {
        "filters": (4, 6),
        "kernel_sizes": (3, 5),
        "groups": (1, 2),
        "strides": 2,
    },
    attention.SelectiveKernel: {
        "filters": 8,
        "kernel_size": 5,
        "dilations": (1, 2, 3),
        "groups": 4,
        "reduction": 2,
        "minimum": 3,
        "strides": 2,
    },
    attention.SplitAttention: {
        "filters": 12,
        "kernel_size": 5,
        "radix": 4,
        "groups": 2,
        "reduction": 1,
        "strides": 2,
    },
    attention.AttentionAugmentedConv2D: {
        "filters": 12,
        "key_filters": 8,
        "value_filters": 4,
        "kernel_size": 5,
        "num_heads": 2,
        "strides": 2,
        "table_size": (4, 2),
    },
    attention.BAM: {"reduction": 4, "dilation_rate": 2},
    attention.CBAM: {"reduction": 4, "kernel_size": 3, "use_bias": False},
    attention.CoordinateAttention: {"reduction": 4},
    attention.DoubleAttention: {"filters": 4, "descriptors": 6},
    attention.ChannelAttention: {},
    attention.PositionAttention: {"reduction": 4},
    attention.GSoP: {"filters": 6, "strides": 2},
    attention.EMA: {"groups": 4},
    attention.FCA: {
        "grid": 14,
        "reduction": 4,
        "frequencies": ((0, 0), (1, 2)),
    },
    attention.TripletAttention: {"kernel_size": 3},
    attention.ECA: {"kernel_size": 5},
    attention.GlobalContext: {"reduction": 4},
    attention.NonLocal: {"reduction": 4, "pool_size": 2, "use_norm": False},
    attention.SE: {"reduction": 4, "use_bias": True},
    attention.SRM: {},
    attention.ShuffleAttention: {"groups": 4},
    attention.SimAM: {"regularization": 0.01},
}
