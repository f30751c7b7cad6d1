import argparse

import pytest

from keras_epsanet.classification.few_images import fit_batch_size
from keras_epsanet.training import ClassifierRecipe


def fitted(number, devices=1, given=(), **fields):
    """Size of the batches for a number of images."""
    options = argparse.Namespace(**dict(given))
    recipe = ClassifierRecipe(**fields).with_options(options)
    return fit_batch_size(recipe, options, number, devices).batch_size


@pytest.mark.parametrize(
    "number, size",
    [(1, 8), (13, 8), (72, 8), (159, 8), (160, 16), (639, 32), (640, 64)],
)
def test_a_batch_has_a_tenth_of_the_images(number, size):
    assert fitted(number) == size


def test_many_images_leave_the_recipe_as_it_is():
    recipe = ClassifierRecipe()
    options = argparse.Namespace()
    assert fit_batch_size(recipe, options, 10_000) is recipe


def test_what_is_given_stays():
    assert fitted(13, given={"batch_size": 64}) == 64
    assert fitted(13, given={"batch_size": 2}) == 2


@pytest.mark.parametrize(
    "devices, parts, size", [(2, 1, 8), (3, 1, 6), (2, 2, 8), (12, 1, 12)]
)
def test_every_device_has_an_image_in_every_part(devices, parts, size):
    assert fitted(72, devices, accumulation_steps=parts) == size


def test_the_rate_follows_the_batch():
    recipe = fit_batch_size(ClassifierRecipe(), argparse.Namespace(), 72)
    whole = ClassifierRecipe().peak_learning_rate
    assert recipe.peak_learning_rate == pytest.approx(whole / 8)
