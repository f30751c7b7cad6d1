import types

import keras
import pytest

from keras_epsanet.classification.comparison import sources
from keras_epsanet.classification.imagenet.smoke import SMOKE, write_images
from keras_epsanet.training import IMAGENET, ClassifierRecipe

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are read by TensorFlow", allow_module_level=True)


def test_the_embedded_images_are_those_of_train():
    source = sources.open_source()
    assert source.counts == (10_000, 2_000) and len(source.class_names) == 10
    assert source.steps_per_epoch(ClassifierRecipe(batch_size=64)) == 157


def test_imagenet_is_read_as_train_imagenet_does(tmp_path):
    write_images(tmp_path / "images")
    source = sources.open_source(str(tmp_path / "images"))
    assert source.name == str(tmp_path / "images")
    assert source.counts == (96, 40)
    assert source.steps_per_epoch(SMOKE) == 6


def test_imagenet_has_the_recipe_of_the_paper():
    assert sources.base_recipe("IMAGENET") == IMAGENET
    assert isinstance(sources.base_recipe(), ClassifierRecipe)


def test_images_to_evaluate_are_filled_up_to_the_devices(monkeypatch):
    calls = []
    monkeypatch.setattr(sources, "pad_to_devices", lambda *x: ("padded", *x))
    monkeypatch.setattr(
        sources.batches, "evaluation_batches", lambda *x: ("batches", *x)
    )
    monkeypatch.setattr(sources.fitting, "fit", lambda *x: calls.append(x))
    source = sources.open_source()
    run = types.SimpleNamespace(recipe="recipe")
    source.fit("model", "average", "strategy", run, "state", "other", 7)
    ((*first, padded, _, state, other, steps),) = calls
    assert first == ["model", "average", source.images.train]
    held_out = ("batches", source.images.held_out, "recipe")
    assert padded == ("padded", held_out, "strategy")
    assert (state, other, steps) == ("state", "other", 7)
