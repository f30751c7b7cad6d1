import argparse

import numpy as np
import pytest

from keras_epsanet.training import (
    ClassifierRecipe,
    ImageNetRecipe,
    Recipe,
)


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"batch_size": 2.5},
        {"batch_size": "64"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": True},
        {"sync_bn": "false"},
        {"nesterov": 1},
        {"l2_on_all": None},
        {"model": ""},
        {"decay_epochs": ()},
        {"decay_epochs": (60, 30)},
        {"decay_epochs": (30, 30)},
        {"decay_epochs": "30"},
        {"image_size": True},
        {"accumulation_steps": 3},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"schedule": "linear"},
        {"decay_epochs": 0},
        {"decay_factor": -1},
        {"warm_up_epochs": 120},
        {"momentum": 1},
        {"l2": -1e-4},
        {"clipnorm": 0},
        {"label_smoothing": 1},
        {"ema": 1.0},
        {"precision": "float16"},
    ],
    ids=lambda option: "".join(option),
)
def test_a_value_out_of_range_is_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError) as caught:
        ImageNetRecipe(**option)
    assert f"`{name}`" in str(caught.value)
    assert str(caught.value).endswith(f"Received: {name}={value}")


@pytest.mark.parametrize(
    "option",
    [
        {"image_size": 1},
        {"epochs": 1},
        {"batch_size": 1},
        {"accumulation_steps": 256},
        {"learning_rate": 1e-9},
        {"learning_rate": 3},
        {"decay_epochs": (0.5, 0.75)},
        {"decay_epochs": (7,)},
        {"decay_epochs": 0.1},
        {"decay_factor": 2.0},
        {"warm_up_epochs": 119.5},
        {"momentum": 0},
        {"momentum": 0.999},
        {"l2": 0},
        {"clipnorm": 1e-9},
        {"clipnorm": None},
        {"ema": 0},
        {"ema": None},
        {"precision": "mixed_float16"},
        {"seed": 0},
        {"seed": 2**31 - 1},
        {"label_smoothing": 0},
        {"augmentations": ()},
    ],
    ids=str,
)
def test_a_value_at_the_border_is_allowed(option):
    ((name, value),) = option.items()
    assert getattr(ImageNetRecipe(**option), name) == value


@pytest.mark.parametrize("cls", [ImageNetRecipe, ClassifierRecipe])
@pytest.mark.parametrize(
    "augmentations, message",
    [
        (["foo"], "names among rand_augment"),
        ([["foo"]], "names among rand_augment"),
        ("mix_up", "`augmentations` must be names among"),
        ({"mix_up": {"alhpa": 1}}, "'alhpa'"),
        ({"mix_up": 0.2}, "mapping"),
    ],
)
def test_augmentations_that_cannot_be_made_are_refused(
    cls, augmentations, message
):
    with pytest.raises(ValueError, match=f"{message}.*Received: ") as error:
        cls(augmentations=augmentations)
    for once in ("Received: ", "`augmentations` ", "must be names"):
        assert str(error.value).count(once) <= 1


def test_numbers_of_numpy_become_those_of_json():
    recipe = Recipe(epochs=np.int64(3), learning_rate=np.float32(0.5))
    assert type(recipe.epochs) is int and type(recipe.learning_rate) is float
    assert Recipe.from_json(recipe.to_json()) == recipe


def parse(cls, *arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    cls.add_options(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "text, value",
    [
        ("none", None),
        ("NONE", None),
        ("mix_up, cut_mix", ("mix_up", "cut_mix")),
        (' {"mix_up": {"alpha": 0.5}}', {"mix_up": {"alpha": 0.5}}),
        ('["mix_up"]', ("mix_up",)),
    ],
)
def test_augmentations_are_names_or_json(text, value):
    arguments = parse(ClassifierRecipe, "--augmentations", text)
    assert arguments.augmentations == value
