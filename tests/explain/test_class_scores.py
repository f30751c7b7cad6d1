import keras
import numpy as np
import pytest

from keras_epsanet.explain.class_scores import (
    before_softmax,
    check_classes,
    check_scores,
)
from keras_epsanet.explain.model_inputs import run
from keras_epsanet.layers import ClassNames

X = np.array([[1.0, 2, 4], [0, -3, 1]])


def layer(name):
    layers = {
        "softmax": keras.layers.Softmax(),
        "sigmoid": keras.layers.Activation("sigmoid"),
        "names": ClassNames(["a", "b", "c"]),
        "linear": keras.layers.Activation("linear"),
        "relu": keras.layers.Activation("relu"),
        "dense": keras.layers.Dense(
            3, "softmax", kernel_initializer="identity", use_bias=False
        ),
        "dense_relu": keras.layers.Dense(
            3, "relu", kernel_initializer="identity", use_bias=False
        ),
    }
    return layers[name]


@pytest.mark.parametrize(
    "names, expected",
    [
        (["softmax"], X),
        (["softmax", "names"], X),
        (["linear", "softmax", "names"], X),
        (["sigmoid"], X),
        (["dense", "names"], X),
        (["dense", "linear"], X),
        (["relu", "softmax"], np.maximum(X, 0)),
        (["softmax", "relu"], None),
        (["dense_relu"], np.maximum(X, 0)),
        (["linear"], X),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_scores_are_those_before_a_softmax(names, expected, is_nested):
    model = keras.Sequential([keras.Input((3,)), *map(layer, names)])
    if is_nested:
        image = keras.Input((3,))
        model = keras.Model(image, model(image))
    outputs = run(model, X)
    with before_softmax(model):
        scores = run(model, X)
    # A softmax in the middle stays.
    np.testing.assert_allclose(
        scores, outputs if expected is None else expected, atol=1e-6
    )
    np.testing.assert_array_equal(run(model, X), outputs)


def test_classes_of_all_kinds():
    model = keras.Sequential([keras.Input((3,)), layer("names")])
    assert check_classes(model, None, 2) is None
    assert check_classes(model, 2, 2).tolist() == [2, 2]
    assert check_classes(model, "b", 1).tolist() == [1]
    mixed = ["c", np.int64(0), 1]
    assert check_classes(model, mixed, 3).tolist() == [2, 0, 1]
    assert check_classes(model, np.array([1, 1]), 2).tolist() == [1, 1]
    for bad in (-1, 3, "d", None, 0.0, False):
        with pytest.raises(ValueError, match="0 to 2, or any of a, b, c"):
            check_classes(model, [bad], 1)


def test_other_outputs_are_no_classes():
    image = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(image)
    for outputs in (image, [image, image], [flat, flat]):
        with pytest.raises(ValueError, match="score for each class"):
            check_scores(keras.Model(image, outputs))


def test_a_number_of_classes_must_be_known():
    image = keras.Input((None,))
    model = keras.Model(image, keras.layers.ReLU()(image))
    with pytest.raises(ValueError, match=r"output shape \(None, None\)"):
        check_scores(model)


def test_the_number_of_classes_is_returned():
    image = keras.Input((2, 3))
    model = keras.Model(image, keras.layers.Flatten()(image))
    assert check_scores(model) == 6
