"""Every argument of every layer survives `get_config` and `from_config`."""

import inspect
import json

import keras
import pytest

from keras_epsanet import layers
from keras_epsanet.layers import (
    PSA,
    SPC,
    BatchNormalization,
    Bias,
    ClassNames,
    GroupedConv2D,
    Resizing,
    SEWeight,
)

# Keras refuses `synchronized=True` elsewhere.
SYNCHRONIZED = keras.backend.backend() == "tensorflow"

LAYER = {
    "name": "some",
    "trainable": False,
    "dtype": "mixed_bfloat16",
    "activity_regularizer": keras.regularizers.L2(0.25),
}
KERNEL = {
    "kernel_initializer": keras.initializers.HeNormal(seed=3),
    "kernel_regularizer": keras.regularizers.L1(0.5),
    "kernel_constraint": keras.constraints.MaxNorm(3),
}
PYRAMID = {
    "filters": 24,
    "kernel_sizes": (3, 7, 5),
    "groups": (2, 1, 4),
    "strides": 2,
    "split_input": True,
    "data_format": "channels_first",
    "layout": "channels_last",
}

# A value for every argument, none of them its default.
ARGUMENTS = {
    PSA: {**PYRAMID, "reduction": 4, **KERNEL, **LAYER},
    SPC: {**PYRAMID, **KERNEL, **LAYER},
    SEWeight: {
        "reduction": 4,
        "data_format": "channels_first",
        **KERNEL,
        **LAYER,
    },
    GroupedConv2D: {
        "filters": 8,
        "kernel_size": (3, 5),
        "strides": (2, 3),
        "data_format": "channels_first",
        "groups": 2,
        "activation": keras.activations.relu,
        "use_bias": True,
        "bias_initializer": keras.initializers.Constant(2),
        "bias_regularizer": keras.regularizers.L1(0.25),
        "bias_constraint": keras.constraints.NonNeg(),
        "lora_rank": 2,
        "lora_alpha": 5,
        **KERNEL,
        **LAYER,
    },
    BatchNormalization: {
        "axis": 1,
        "momentum": 0.5,
        "epsilon": 0.25,
        "norm_eval": True,
        "center": False,
        "scale": False,
        "beta_initializer": keras.initializers.Constant(2),
        "gamma_initializer": keras.initializers.Constant(3),
        "moving_mean_initializer": keras.initializers.Constant(4),
        "moving_variance_initializer": keras.initializers.Constant(5),
        "beta_regularizer": keras.regularizers.L1(0.5),
        "gamma_regularizer": keras.regularizers.L1(0.25),
        "beta_constraint": keras.constraints.NonNeg(),
        "gamma_constraint": keras.constraints.MaxNorm(3),
        "renorm": True,
        "renorm_clipping": {"rmax": 3.0},
        "renorm_momentum": 0.5,
        "synchronized": SYNCHRONIZED,
        **LAYER,
    },
    Bias: {
        "data_format": "channels_first",
        "bias_initializer": keras.initializers.Constant(2),
        "bias_regularizer": keras.regularizers.L1(0.25),
        "bias_constraint": keras.constraints.NonNeg(),
        **LAYER,
    },
    ClassNames: {"names": ("cat", "dog"), **LAYER},
    Resizing: {
        "height": 4,
        "width": 5,
        "interpolation": "nearest",
        "crop_to_aspect_ratio": True,
        "pad_to_aspect_ratio": True,
        "fill_mode": "reflect",
        "fill_value": 1.0,
        "antialias": True,
        "data_format": "channels_first",
        **LAYER,
    },
}
# Not in the configs of Keras' own layers either, or not taken.
LEFT_OUT = {
    "self",
    "autocast",
    "rank",
    "padding",
    "dilation_rate",
    "factor",
    "bounding_box_format",
}


def parameters(cls):
    """Dictionary of all arguments of a class that end up in its config."""
    found = {}
    for base in cls.__mro__[: cls.__mro__.index(keras.layers.Layer) + 1]:
        for parameter in inspect.signature(base.__init__).parameters.values():
            if parameter.kind != parameter.VAR_KEYWORD:
                found.setdefault(parameter.name, parameter)
    return {k: v for k, v in found.items() if k not in LEFT_OUT}


def plain(value):
    if isinstance(value, keras.dtype_policies.DTypePolicy):
        return value.name
    if isinstance(value, (list, tuple)):
        return list(value)
    return keras.saving.serialize_keras_object(value)


def test_the_table_has_every_public_layer():
    assert {cls.__name__ for cls in ARGUMENTS} == set(layers.__all__)


@pytest.mark.parametrize("cls", ARGUMENTS)
def test_the_table_and_the_config_have_every_argument(cls):
    expected = set(parameters(cls))
    assert set(ARGUMENTS[cls]) == expected
    assert set(cls(**ARGUMENTS[cls]).get_config()) == expected


@pytest.mark.parametrize(
    "cls, name",
    [(cls, name) for cls, values in ARGUMENTS.items() for name in values],
)
def test_argument_survives(cls, name):
    value = ARGUMENTS[cls][name]
    if name != "synchronized" or SYNCHRONIZED:
        assert plain(value) != plain(parameters(cls)[name].default)
    layer = cls(**ARGUMENTS[cls])
    attribute = {"dtype": "dtype_policy"}.get(name, name)
    through_json = json.dumps(keras.saving.serialize_keras_object(layer))
    for copy in (
        layer,
        cls.from_config(layer.get_config()),
        keras.saving.deserialize_keras_object(json.loads(through_json)),
    ):
        assert plain(getattr(copy, attribute)) == plain(value)
