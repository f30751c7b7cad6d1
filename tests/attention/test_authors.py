"""The gradients of the authors' own modules, which ran on PyTorch."""

import pathlib

import keras
import numpy as np
import pytest

from keras_epsanet import ResNet50, load_torch_weights
from keras_epsanet.attention import (
    BAM,
    CBAM,
    ECA,
    EMA,
    FCA,
    SE,
    SRM,
    AttentionAugmentedConv2D,
    CoordinateAttention,
    DoubleAttention,
    GlobalContext,
    HierarchicalSplit,
    NonLocal,
    PyConv2D,
    SelectiveKernel,
    ShuffleAttention,
    SimAM,
    SplitAttention,
    TripletAttention,
)
from keras_epsanet.weights.attention_names import PUBLISHED, Dialect
from keras_epsanet.weights.entries import Entry, assign_entries
from keras_epsanet.weights.network_entries import (
    attention_entries,
    network_entries,
)

GRADIENTS = np.load(
    pathlib.Path(__file__).parents[1] / "golden/attention/gradients.npz"
)
# Layer, and what stands before the names of its weights in a network.
LAYERS = {
    "se": (SE, {"reduction": 4}, "se."),
    "cbam": (CBAM, {"reduction": 4}, "cbam."),
    "bam": (BAM, {}, ""),
    "eca": (ECA, {"kernel_size": 5}, "eca."),
    "fca": (FCA, {"grid": 7, "reduction": 4}, "att."),
    "sa": (ShuffleAttention, {"groups": 4}, "sa."),
    "triplet": (TripletAttention, {}, "triplet_attention."),
    "srm": (SRM, {}, "rclb."),
    "gc": (GlobalContext, {"reduction": 4}, "context_block."),
    "non_local": (NonLocal, {}, ""),
    "a2": (DoubleAttention, {"filters": 6, "descriptors": 5}, ""),
    "aa": (
        AttentionAugmentedConv2D,
        {"filters": 24, "key_filters": 16, "value_filters": 8, "num_heads": 4},
        "",
    ),
    "pyconv": (
        PyConv2D,
        {
            "filters": (4, 4, 8),
            "kernel_sizes": (3, 5, 7),
            "groups": (1, 2, 4),
            "strides": 2,
        },
        "conv2.",
    ),
    "sk": (
        SelectiveKernel,
        {"filters": 16, "groups": 4, "minimum": 8, "strides": 2},
        "conv2.",
    ),
    "split": (SplitAttention, {"filters": 16}, "conv2."),
    "res2net": (HierarchicalSplit, {}, ""),
    "res2net first": (HierarchicalSplit, {"chained": False}, ""),
    "simam": (SimAM, {}, ""),
    "coordinate": (CoordinateAttention, {"reduction": 4}, ""),
    "ema": (EMA, {"groups": 4}, ""),
}
# Names of code that has no public weights of a network.
NAMES = {
    "non_local": {
        "theta": "theta.conv",
        "phi": "phi.conv",
        "g": "g.conv",
        "output_conv": "conv_out.conv",
        "norm": "conv_out.bn",
    },
    "a2": {
        "feature_conv": "layer.convA",
        "gather_conv": "layer.convB",
        "distribute_conv": "layer.convV",
        "output_conv": "layer.conv_reconstruct",
    },
    "aa": {
        "conv": "conv",
        "qkv_conv": "in_proj_qkv",
        "output_conv": "out_proj",
    },
    "simam": {},
    "coordinate": {
        "fc": "conv1",
        "norm": "bn1",
        "fc_rows": "conv_h",
        "fc_columns": "conv_w",
    },
    "ema": {
        "fc": "conv1x1",
        "conv": "conv3x3",
        "gamma": "gn.weight",
        "beta": "gn.bias",
    },
}
# Its authors leave it out in front of a BatchNorm.
WITHOUT = {"conv_out.conv.bias"}


def entries_of(name, layer, prefix):
    dialect = (
        Dialect(NAMES[name], pointwise=True)
        if name in NAMES
        else PUBLISHED[name.split()[0]].dialects[0]
    )
    entries = [
        entry._replace(key=entry.key.removeprefix(prefix))
        for entry in attention_entries("", layer, dialect)
        if entry.variable is not None
    ]
    if name == "aa":
        tables = {"key_rel_h": layer.row_table, "key_rel_w": layer.column_table}
        entries += [Entry(key, x, (1, 0)) for key, x in tables.items()]
    return [entry for entry in entries if entry.key not in WITHOUT]


def loss(outputs):
    return keras.ops.mean(keras.ops.square(outputs))


def close(found, expected, largest=None):
    largest = np.abs(expected).max() if largest is None else largest
    return np.abs(found - expected).max() <= 1e-4 * largest


def golden_gradients(name, mode):
    """Reference numbers, and those of them that are norms of gradients."""
    start = f"{name}/{mode}/"
    golden = {
        key.removeprefix(start): array
        for key, array in GRADIENTS.items()
        if key.startswith(start)
    }
    norms = {k[5:]: x for k, x in golden.items() if k.startswith("norm/")}
    return golden, norms


def check_gradients(found, golden, norms):
    assert found.keys() == norms.keys()
    for key, norm in norms.items():
        # What is lost in a softmax or a BatchNorm has no gradient.
        largest = norm if norm > 1e-12 else max(norms.values())
        assert close(np.linalg.norm(found[key]), norm, largest), key
    for key in golden:
        if key.startswith("gradient/"):
            assert close(found[key.removeprefix("gradient/")], golden[key]), key


MODULES = {tuple(key.split("/")[:2]) for key in GRADIENTS}
MODULES -= {("abn", "inference")}


@pytest.mark.parametrize("name, mode", sorted(MODULES))
def test_gradients(
    name,
    mode,
    make_golden_weight,
    make_golden_images,
    value_and_gradients,
):
    cls, arguments, prefix = LAYERS[name]
    golden, norms = golden_gradients(name, mode)
    images = make_golden_images(golden["dx"].shape)
    if cls is HierarchicalSplit:  # It is called behind a ReLU.
        images = np.abs(images)
    layer = cls(**arguments, data_format="channels_last")
    layer.build(images.shape)
    entries = entries_of(name, layer, prefix)
    assign_entries(
        entries,
        {
            entry.key: make_golden_weight(f"{name}.{entry.key}", x)
            for entry in entries
            for x in [entry.torch_shape]
        },
    )
    value, dx, gradients = value_and_gradients(
        layer, images, loss, training=mode == "training"
    )
    assert close(value, golden["loss"])
    assert close(dx, golden["dx"])
    weights = [id(weight) for weight in layer.trainable_weights]
    found = {
        entry.key: entry.arrange(gradients[weights.index(id(entry.variable))])
        for entry in entries
        if id(entry.variable) in weights
    }
    check_gradients(found, golden, norms)


def test_gradients_of_a_network_with_an_attention_branch(
    make_golden_weight, make_golden_images, value_and_gradients
):
    golden, norms = golden_gradients("abn", "inference")
    model = ResNet50(
        "abn",
        stackwise_num_blocks=(1, 1, 1, 1),
        input_shape=(64, 32, 3),
        classes=10,
        classifier_activation=None,
        branch_output=True,
    )
    entries = network_entries(model)
    state = {
        entry.key: make_golden_weight(f"abn.{entry.key}", entry.torch_shape)
        for entry in entries
    }
    load_torch_weights(model, state)
    value, dx, gradients = value_and_gradients(
        model,
        make_golden_images(golden["dx"].shape),
        lambda outputs: loss(outputs[0]) + loss(outputs[1]),
    )
    assert close(value, golden["loss"])
    assert close(dx, golden["dx"])
    weights = [id(weight) for weight in model.trainable_weights]
    found = {
        entry.key: entry.arrange(gradients[weights.index(id(entry.variable))])
        for entry in entries
        if entry.key in norms
    }
    check_gradients(found, golden, norms)
