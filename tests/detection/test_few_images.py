import argparse

import pytest

from keras_epsanet.detection.few_images import fit_to_images
from keras_epsanet.training import COCO, CocoRecipe


def fit(number, devices=1, recipe=COCO, **given):
    found = fit_to_images(recipe, argparse.Namespace(**given), number, devices)
    # It can be trained: the warm-up is shorter than the training.
    found.schedule_epochs(max(1, number // found.step_batch_size))
    return found.batch_size, found.epochs, found.warm_up_steps


@pytest.mark.parametrize(
    "number, expected",
    [
        (1, (1, 500, 50)),
        (2, (1, 250, 50)),
        (9, (1, 56, 50)),
        (50, (4, 42, 50)),
        (159, (8, 27, 51)),
        (160, (16, 50, 50)),
        (960, (16, 12, 72)),
        (6000, (16, 12, 450)),
        (7000, (16, 12, 500)),
        (118_000, (16, 12, 500)),
    ],
)
def test_batch_epochs_and_warm_up_fit_the_images(number, expected):
    assert fit(number) == expected


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"batch_size": 16}, (16, 167, 50)),
        ({"epochs": 12}, (4, 12, 14)),
        ({"warm_up_steps": 500}, (4, 42, 500)),
        ({"warm_up_epochs": 0.5}, (4, 42, 500)),
    ],
)
def test_what_was_given_stays(given, expected):
    if "warm_up_epochs" in given or "warm_up_steps" in given:
        found = fit_to_images(COCO, argparse.Namespace(**given), 50)
        assert (found.batch_size, found.epochs, found.warm_up_steps) == expected
    else:
        assert fit(50, **given) == expected


def test_every_device_has_an_image_of_every_part():
    assert fit(50, devices=3)[0] == 3
    assert fit(50, devices=8)[0] == 8
    recipe = CocoRecipe(accumulation_steps=2)
    assert fit(1000, devices=3, recipe=recipe)[0] == 12


def test_no_images_are_left_to_others():
    assert fit_to_images(COCO, argparse.Namespace(), 0) == COCO
