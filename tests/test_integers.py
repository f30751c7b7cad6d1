import json

import keras
import numpy as np
import pytest

from keras_epsanet import (
    EPSANet,
    EPSANet50Small,
    EPSANetBackbone,
    ResNet,
    ResNet50,
    ResNetBackbone,
)
from keras_epsanet.integers import (
    check_all_positive,
    check_positive,
    is_integer,
    python_integers,
)
from keras_epsanet.layers import PSA, SPC, GroupedConv2D, SEWeight


@pytest.mark.parametrize("value", ["3", 3.0, 0, -1, None, True, (3,)], ids=repr)
def test_what_is_no_positive_integer_is_refused(value):
    check_positive(first=1, other=2**40)
    with pytest.raises(ValueError) as error:
        check_positive(first=1, other=value)
    assert str(error.value) == (
        f"`other` must be a positive integer. Received: other={value!r}"
    )


@pytest.mark.parametrize("values", ["35", 3, (), (3, "5"), (3, 0)], ids=repr)
def test_what_is_no_tuple_of_them_is_refused(values):
    check_all_positive("sizes", [3, 5])
    with pytest.raises(ValueError) as error:
        check_all_positive("sizes", values)
    assert str(error.value).endswith(f"Received: sizes={values!r}")


def test_numbers_of_numpy_become_python_s():
    one, pair = np.uint8(1), (np.int32(3), 5)
    found = [
        check_positive(first=one),
        *check_positive(first=one, other=np.int64(64)),
        *check_all_positive("sizes", pair),
        *python_integers(pair),
        *python_integers([one]),
        python_integers(one),
    ]
    assert found == [1, 1, 64, 3, 5, 3, 5, 1, 1]
    assert {type(x) for x in found} == {int}


@pytest.mark.parametrize("value", ["same", None, True, 1.5, [2, 3], (2,)])
def test_what_is_python_s_stays(value):
    found = python_integers(value)
    assert found == value and type(found) is type(value)


PYRAMID = {"filters": 8, "kernel_sizes": (3, 5), "groups": (1, 2)}


@pytest.mark.parametrize("strides", [2, (2, 1)], ids=str)
@pytest.mark.parametrize(
    "cls, arguments",
    [
        (PSA, {**PYRAMID, "reduction": 2}),
        (SPC, PYRAMID),
        (GroupedConv2D, {"filters": 8, "kernel_size": (3, 5), "groups": 2}),
        (GroupedConv2D, {"filters": 8, "kernel_size": 3}),
        (SEWeight, {"reduction": 2}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_layers_with_numbers_of_numpy_come_back(
    cls, arguments, strides, tmp_path
):
    if cls is not SEWeight:
        arguments = {**arguments, "strides": strides}
    given = keras.tree.map_structure(np.int64, arguments)
    layer = cls(**given, data_format="channels_last", name="some")
    expected = cls(**arguments, data_format="channels_last", name="some")
    assert json.dumps(layer.get_config()) == json.dumps(expected.get_config())
    image = keras.Input((6, 6, 8))
    model = keras.Model(image, layer(image))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).standard_normal((1, 6, 6, 8))
    found, outputs = (keras.ops.convert_to_numpy(m(x)) for m in (copy, model))
    np.testing.assert_array_equal(found, outputs)


NETWORK = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (8, 16),
    "classes": 3,
    "expansion": 2,
}


@pytest.mark.parametrize(
    "network, arguments",
    [
        (EPSANet, {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}),
        (ResNet, {"attention": "se", "stem_filters": (4, 8)}),
        (ResNet, {"attention": "abn"}),
        (EPSANet50Small, None),
        (ResNet50, None),
    ],
)
def test_networks_take_numbers_of_numpy(network, arguments, tmp_path):
    given = {"classes": 3} if arguments is None else {**NETWORK, **arguments}
    given["input_shape"] = (32, 33, 3)
    given = keras.tree.map_structure(
        lambda x: np.int64(x) if isinstance(x, int) else x, given
    )
    model = network(**given, data_format="channels_last")
    json.dumps([layer.get_config() for layer in model.layers], default=str)
    assert model.output_shape == (None, 3)
    if arguments is None:
        return  # They would take long.
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).standard_normal((1, 32, 33, 3))
    found, outputs = (keras.ops.convert_to_numpy(m(x)) for m in (copy, model))
    np.testing.assert_array_equal(found, outputs)


@pytest.mark.parametrize(
    "cls, arguments",
    [
        (
            EPSANetBackbone,
            {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4},
        ),
        (ResNetBackbone, {"classes": 3, "attention": "se"}),
    ],
)
def test_backbones_keep_python_s(cls, arguments, tmp_path):
    given = {
        "stackwise_num_blocks": (1, 1),
        "stackwise_num_filters": (8, 16),
        "freeze_stages": 1,
        "image_shape": (32, 33, 3),
        **arguments,
    }
    given = keras.tree.map_structure(
        lambda x: np.int64(x) if isinstance(x, int) else x, given
    )
    backbone = cls(**given, data_format="channels_last")
    json.dumps(backbone.get_config())
    backbone.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.get_config() == backbone.get_config()


def test_integers_of_any_sign_are_told_from_others():
    assert all(map(is_integer, (-1, 0, 2**40, np.int64(-1), np.uint8(0))))
    assert not any(map(is_integer, ("1", 1.0, None, False, (1,))))
