"""Keras' own checks of a layer, run on every attention of the package."""

import keras
import pytest
from keras.src import testing

from keras_epsanet import attention

IMAGES = (2, 5, 6, 16)
HALF = (2, 3, 3)


@pytest.fixture(autouse=True)
def keep_traceback_filtering():
    """Keras' test case switches it off for good."""
    enabled = keras.config.is_traceback_filtering_enabled()
    yield
    if enabled:
        keras.config.enable_traceback_filtering()


# Layer, arguments, shape of the output, numbers of weights that train and
# that do not.
CASES = [
    ("AttentionAugmentedConv2D",
     {"filters": 12, "key_filters": 8, "value_filters": 4, "num_heads": 2,
      "strides": 2, "table_size": (3, 3)}, (*HALF, 12), 5, 0),
    ("AttentionBranch", {"classes": 3}, ((2, 5, 6, 1), (2, 3)), 9, 6),
    ("BAM", {"reduction": 4, "dilation_rate": 2}, IMAGES, 20, 8),
    ("CBAM", {"reduction": 4, "kernel_size": 3}, IMAGES, 7, 2),
    ("CBAM", {"reduction": 4, "kernel_size": 3, "use_bias": False},
     IMAGES, 5, 2),
    ("ChannelAttention", {}, IMAGES, 1, 0),
    ("CoordinateAttention", {"reduction": 4}, IMAGES, 8, 2),
    ("DoubleAttention", {"filters": 4, "descriptors": 6}, IMAGES, 8, 0),
    ("ECA", {"kernel_size": 5}, IMAGES, 1, 0),
    ("EMA", {"groups": 4}, IMAGES, 6, 0),
    ("FCA", {"grid": 14, "reduction": 4}, IMAGES, 2, 0),
    ("GSoP", {"filters": 6}, IMAGES, 10, 4),
    ("GlobalContext", {"reduction": 4}, IMAGES, 8, 0),
    ("HierarchicalSplit", {"strides": 2, "chained": False},
     (*HALF, 16), 9, 6),
    ("NonLocal", {"reduction": 4, "pool_size": 2}, IMAGES, 10, 2),
    ("PositionAttention", {"reduction": 4}, IMAGES, 7, 0),
    ("PyConv2D", {"filters": (4, 6), "kernel_sizes": (3, 5),
                  "groups": (1, 2), "strides": 2}, (*HALF, 10), 2, 0),
    ("SE", {"reduction": 4}, IMAGES, 2, 0),
    ("SE", {"reduction": 4, "use_bias": True}, IMAGES, 4, 0),
    ("SRM", {}, IMAGES, 3, 2),
    ("SelectiveKernel", {"filters": 8, "groups": 4, "reduction": 2,
                         "strides": 2}, (*HALF, 8), 10, 6),
    ("ShuffleAttention", {"groups": 4}, IMAGES, 6, 0),
    ("SimAM", {}, IMAGES, 0, 0),
    ("SplitAttention", {"filters": 12, "groups": 2, "strides": 2},
     (*HALF, 12), 9, 4),
    ("TripletAttention", {"kernel_size": 3}, IMAGES, 9, 6),
]  # fmt: skip


def test_every_public_layer_has_a_case():
    assert {name for name, *_ in CASES} == set(attention.__all__)


@pytest.mark.parametrize(
    "name, arguments, output, trainable, fixed",
    CASES,
    ids=[f"{name}-{i}" for i, (name, *_) in enumerate(CASES)],
)
def test_layer(name, arguments, output, trainable, fixed):
    case = testing.TestCase()
    case.setUp()
    several = isinstance(output[0], tuple)
    case.run_layer_test(
        getattr(attention, name),
        init_kwargs=arguments,
        input_shape=IMAGES,
        expected_output_shape=output,
        expected_output_dtype=("float32",) * 2 if several else "float32",
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=fixed,
        expected_num_non_trainable_variables=fixed,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=False,
        # Without weights there is no gradient.
        run_training_check=trainable > 0,
    )
