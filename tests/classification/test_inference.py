import keras
import numpy as np
import pytest

from keras_epsanet.classification import inference
from keras_epsanet.layers import ClassNames, Resizing


def make_model(*layers):
    image = x = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


def test_the_names_of_the_classes_are_found():
    names = ClassNames(["a", "b", "c"])
    model = make_model(keras.layers.GlobalAveragePooling2D(), names)
    assert inference.find_class_names(model) is names
    with pytest.raises(ValueError, match="no layer ClassNames"):
        inference.find_class_names(make_model(Resizing(4, 4)))


def test_a_model_s_own_resizing_is_taken():
    layer = Resizing(4, 4)
    assert inference.resizing(make_model(layer)) is layer
    same = inference.resizing(make_model(keras.layers.ReLU()))
    assert same("images") == "images"


def test_batches_hold_images_of_one_shape_that_follow_each_other():
    sides = [4, 4, 4, 6, 4]
    images = [(i, np.full((4, n, 3), i, "uint8")) for i, n in enumerate(sides)]
    batches = list(inference.same_shapes(images, 2, np.asarray))
    assert [paths for paths, _ in batches] == [[0, 1], [2], [3], [4]]
    for paths, batch in batches:
        assert batch.dtype == "float32"
        assert batch[:, 0, 0, 0].tolist() == paths


def test_images_are_resized_before_they_are_put_together():
    images = [("a", np.zeros((4, 6, 3))), ("b", np.zeros((8, 2, 3)))]
    [(paths, batch)] = inference.same_shapes(images, 2, Resizing(5, 5))
    assert paths == ["a", "b"] and batch.shape == (2, 5, 5, 3)
