import argparse

import keras
import numpy as np
import pytest

from keras_epsanet.commands import explained_images
from keras_epsanet.layers import ClassNames

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)


class Labeled:
    """Images of one channel, of two classes, the first of which has one."""

    class_names = ["a", "b"]

    def as_numpy_iterator(self):
        for i, label in enumerate([1, 1, 0, 1, 1]):
            yield np.full((2, 2, 1), i), label


@pytest.mark.parametrize(
    "number, expected",
    [
        (1, {"1: a": 2}),
        (3, {"1: a": 2, "2: b": 0, "3: b": 1}),
        # Of each class half at most.
        (4, {"1: a": 2, "2: b": 0, "3: b": 1}),
    ],
)
def test_classes_take_turns(number, expected):
    found = explained_images.first_images(Labeled(), number)
    assert {name: int(x[0, 0, 0]) for name, x in found.items()} == expected
    assert {x.shape for x in found.values()} == {(2, 2, 3)}


def open_data(names, images=(), data=None):
    """Opens the images for a model of these classes."""
    image = keras.Input((4, len(names)))
    x = keras.layers.GlobalAveragePooling1D()(image)
    model = keras.Model(image, ClassNames(names)(x))
    args = argparse.Namespace(images=list(images), data=data)
    return explained_images.open_data(args, {"model": model})


def test_models_of_clothes_have_embedded_images():
    clothes = explained_images.evaluation.open_images().class_names
    assert open_data(clothes).num_images == 2000
    # Whatever their order, and beside others.
    assert open_data(["hat", *clothes[::-1]]).num_images == 2000


def test_other_models_need_images():
    with pytest.raises(ValueError, match="needs IMAGE or --data: .* cat, dog$"):
        open_data(["cat", "dog"])
    many = [f"class {i}" for i in range(1000)]
    with pytest.raises(ValueError, match="class 3, class 4, …$"):
        open_data(many)
    assert open_data(["cat", "dog"], ["a.png"]) is None
    with pytest.raises(ValueError, match="none"):
        open_data(["cat", "dog"], data="none")
