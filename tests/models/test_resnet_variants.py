import inspect

import pytest

import keras_epsanet
from keras_epsanet.models import resnet_variants
from keras_epsanet.models.resnet_variants import RESNETS, network_arguments

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
ARGUMENTS = {
    "attention": "se",
    "include_top": False,
    "weights": "some.keras",
    "input_tensor": "tensor",
    "input_shape": (64, 64, 3),
    "pooling": "max",
    "classes": 7,
    "classifier_activation": None,
    "name": "some",
    "include_preprocessing": True,
    "expansion": 2,
}


@pytest.mark.parametrize("variant", RESNETS)
def test_every_argument_is_passed_on(variant, monkeypatch):
    monkeypatch.setattr(resnet_variants, "ResNet", lambda **kwargs: kwargs)
    function = RESNETS[variant]
    names = set(inspect.signature(function).parameters) - {"kwargs"}
    assert names == set(ARGUMENTS) - {"expansion"}
    expected = {
        "stackwise_num_blocks": BLOCKS[variant],
        "stackwise_num_filters": (64, 128, 256, 512),
        **ARGUMENTS,
    }
    assert function(**ARGUMENTS) == expected


def test_arguments_stand_in_the_order_of_keras_applications():
    ours = [*inspect.signature(keras_epsanet.ResNet50).parameters]
    epsanet = [*inspect.signature(keras_epsanet.EPSANet50Small).parameters]
    assert ours == ["attention", *epsanet]


@pytest.mark.parametrize("variant", RESNETS)
def test_defaults(variant):
    parameters = inspect.signature(RESNETS[variant]).parameters
    assert parameters["name"].default == variant
    assert parameters["attention"].default is None


@pytest.mark.parametrize(
    "attention, changed",
    [
        ("se", set()),
        (None, set()),
        (lambda channels, stage: None, set()),
        ("sk", {"stackwise_num_filters", "expansion"}),
        ("res2net", {"stackwise_num_filters", "expansion"}),
        ("pyconv", {"stem_pool", "downsampling"}),
        ("split", {"stem_filters", "downsampling"}),
    ],
)
def test_some_networks_have_other_widths_and_stems(attention, changed):
    plain = network_arguments("resnet50", None)
    found = network_arguments("resnet50", attention)
    assert {k for k in found if found[k] != plain.get(k)} == changed


def test_the_stem_of_resnest_depends_on_its_depth():
    found = [
        network_arguments(variant, "split")["stem_filters"]
        for variant in RESNETS
    ]
    assert found == [(32, 32, 64), (64, 64, 128)]
