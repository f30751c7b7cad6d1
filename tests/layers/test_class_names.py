import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import ClassNames

NAMES = ["cat", "dog", "pig"]


def test_predictions_pass_unchanged():
    predictions = np.random.default_rng(0).random((4, 3)).astype("float32")
    outputs = ClassNames(NAMES)(predictions)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), predictions)


def test_decode_names_the_most_probable_first():
    predictions = ops.array([[0.25, 0.125, 0.625], [0.5, 0.375, 0.125]])
    assert ClassNames(NAMES).decode(predictions, top=2) == [
        [("pig", 0.625), ("cat", 0.25)],
        [("cat", 0.5), ("dog", 0.375)],
    ]


def test_decode_returns_no_more_than_all_classes():
    [decoded] = ClassNames(NAMES).decode(np.array([[0.5, 0.25, 0.25]]))
    assert [name for name, _ in decoded] == NAMES


def test_decode_returns_five_classes_unless_told_otherwise():
    # So many that NumPy's default changes the order of equal ones.
    names = [f"class {i}" for i in range(64)]
    layer = ClassNames(tuple(names))
    predictions = np.full((1, 64), 1 / 64)
    predictions[0, ::7] = 1 / 128
    # Of equal ones, the first names.
    [decoded] = layer.decode(predictions)
    assert [name for name, _ in decoded] == names[1:6]
    assert layer.decode(predictions, top=1) == [[("class 1", 1 / 64)]]


def test_what_is_decoded_can_be_written_as_json():
    decoded = ClassNames(NAMES).decode(np.eye(3, dtype="float32")[:1])
    assert json.loads(json.dumps(decoded))[0][0] == [NAMES[0], 1.0]


def test_names_travel_in_the_file(tmp_path):
    image = keras.Input((3,))
    model = keras.Model(image, ClassNames(NAMES)(image))
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.layers[-1].names == tuple(NAMES)


def test_config_round_trip():
    config = ClassNames(NAMES, name="names").get_config()
    assert config["names"] == NAMES
    assert ClassNames.from_config(config).get_config() == config


@pytest.mark.parametrize("names", ["cat", [], ["cat", 3], None])
def test_other_names_than_strings_are_refused(names):
    with pytest.raises(ValueError, match="list of strings.*Received: names="):
        ClassNames(names)


@pytest.mark.parametrize("built", [False, True])
def test_another_number_of_classes_is_refused(built):
    layer = ClassNames(NAMES)
    if built:
        layer.build((None, 3))
    with pytest.raises(ValueError, match=r"(?s)(\(N, 3\)|axis -1).*4\)"):
        layer(np.zeros((2, 4)))


@pytest.mark.parametrize(
    "predictions, top, message",
    [
        (np.zeros((2, 4)), 5, r"\(N, 3\)"),
        (np.zeros(3), 5, r"\(N, 3\)"),
        (np.zeros((2, 2, 3)), 5, r"\(N, 3\)"),
        (np.zeros((2, 3)), 0, "top=0"),
        (np.zeros((2, 3)), -1, "top=-1"),
        (np.zeros((2, 3)), 1.5, "top=1.5"),
    ],
)
def test_decode_refuses(predictions, top, message):
    with pytest.raises(ValueError, match=message):
        ClassNames(NAMES).decode(predictions, top)
