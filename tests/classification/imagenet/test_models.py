import dataclasses

import keras
import numpy as np
import pytest

from keras_epsanet import data, preprocess_input
from keras_epsanet.classification.imagenet import models
from keras_epsanet.classification.imagenet.smoke import SMOKE
from keras_epsanet.classification.models import tiny

if keras.backend.backend() != "tensorflow":
    pytest.skip("ImageNet is read by TensorFlow", allow_module_level=True)


def test_pixels_are_normalized_as_those_of_imagenet(monkeypatch):
    monkeypatch.setitem(
        models.MODELS,
        "tiny",
        lambda input_shape, **_: keras.Sequential([keras.Input(input_shape)]),
    )
    _, model = models.build_model(SMOKE, 10)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    images = images.astype("float32")
    np.testing.assert_allclose(
        model(images), preprocess_input(images), rtol=0, atol=1e-5
    )


@pytest.mark.large
def test_the_recipe_overfits_64_images(monkeypatch):
    # Not the smaller one of the other tests.
    monkeypatch.setitem(models.MODELS, "tiny", tiny)
    recipe = dataclasses.replace(
        SMOKE, epochs=40, decay_epochs=10, learning_rate=0.8
    )
    keras.utils.set_random_seed(recipe.seed)
    images = data.fashion_mnist("train").take(64).batch(64)
    x, y = next(images.as_numpy_iterator())
    x = np.pad(np.repeat(x, 3, axis=-1), ((0, 0), (2, 2), (2, 2), (0, 0)))
    y = np.eye(10)[y]
    _, model = models.build_model(recipe, 10)
    models.compile_model(model, recipe, steps_per_epoch=4)
    model.fit(x, y, batch_size=16, epochs=recipe.epochs, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["top1"] == 1.0
