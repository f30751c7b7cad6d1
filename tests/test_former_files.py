"""Files that were saved before the modules moved."""

import pathlib
import shutil

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet import training
from keras_epsanet.layers import PSA

FORMER = pathlib.Path(__file__).parent / "golden" / "former"


def test_a_saved_classifier_predicts_what_it_did():
    model = keras.saving.load_model(FORMER / "classifier.keras")
    golden = np.load(FORMER / "classifier.npz")
    found = model.predict(golden["images"].astype("float32"), verbose=0)
    np.testing.assert_allclose(found, golden["predictions"], atol=1e-5)
    assert model.layers[-1].names == ("cat", "dog", "fox")
    assert isinstance(model.optimizer, training.SGDL2)


def build(recipe):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 3, padding="same")(image)
    x = PSA(16, groups=(1, 1, 2, 2), reduction=4)(x)
    x = keras_epsanet.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3)(x))
    model.compile(
        training.make_optimizer(recipe, 2), training.make_loss(recipe)
    )
    return model


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a folder of TensorFlow's"
)
def test_a_training_goes_on_in_its_folder(tmp_path):
    folder = shutil.copytree(FORMER / "run", tmp_path / "run")
    recipe = training.read_recipe(folder, training.ImageNetRecipe)
    model = build(recipe)
    average = training.make_average(model, recipe)
    run = training.open_run(folder, recipe)
    state = run.restore(model, 2, average=average)
    assert (state.step, state.best_step) == (4, 2)
    assert int(model.optimizer.iterations) == 4
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    golden = np.load(FORMER / "run.npz")["predictions"]
    average.swap_in()
    np.testing.assert_allclose(model.predict(x, verbose=0), golden, atol=1e-5)
    average.swap_out()
    y = np.eye(3, dtype="float32")[np.arange(8) % 3]
    model.fit(x, y, batch_size=4, initial_epoch=2, epochs=3, verbose=0)
    assert int(model.optimizer.iterations) == 6
