"""What the help of a command says of a recipe: all fields, and their values."""

import argparse
import dataclasses

import pytest

from keras_epsanet.training import (
    ClassifierRecipe,
    CocoRecipe,
    ImageNetRecipe,
    recipe_help,
)

RECIPES = (ClassifierRecipe, CocoRecipe, ImageNetRecipe)


def help_of(cls, **options):
    parser = argparse.ArgumentParser()
    cls.add_options(parser, **options)
    return " ".join(parser.format_help().split())


@pytest.mark.parametrize("cls", RECIPES)
def test_every_field_says_what_it_is_and_its_default(cls):
    parser = argparse.ArgumentParser()
    cls.add_options(parser)
    texts = {x.dest: x.help for x in parser._actions}
    for field in dataclasses.fields(cls):
        text = texts[field.name]
        default = recipe_help.format_value(field.default)
        meaning, _, shown = text.rpartition(" (default: ")
        assert shown == f"{default})"
        assert len(meaning.split()) > 3 and "`" not in meaning
    parser.format_help()  # Without an error about signs in the texts.


def test_texts_are_those_of_the_docstrings():
    texts = recipe_help.describe_fields(CocoRecipe)
    # Of the class itself, of its base, and of both.
    assert texts["num_samples"] == (
        "proposals of an image from which the heads of Faster and Mask R-CNN "
        "learn"
    )
    assert texts["ema"].startswith("share of the average of the weights")
    assert texts["decay_epochs"].endswith(
        "rate falls once; none for two falls, after 8/12 and 11/12 of the "
        "epochs"
    )
    # Fields are named as options.
    assert (
        "times --decay-factor after every --decay-epochs" in texts["schedule"]
    )


def test_the_values_are_those_of_the_recipes_that_are_given():
    recipes = {
        "": CocoRecipe(epochs=7, freeze=True),
        "of scenes": CocoRecipe(epochs=3, freeze=True, clipnorm=10),
    }
    text = help_of(CocoRecipe, defaults=recipes)
    assert "a positive integer (default: 7, of scenes 3)" in text
    assert "the rate for 16 images a batch" in text
    assert "or rising ones, such as 30,60,90, or none (default: none)" in text
    assert "(default: none, of scenes 10)" in text
    assert "(default: yes)" in text


def test_without_docstrings_fields_have_their_names():
    """As in `python -OO`, where dataclasses have their signatures instead."""

    @dataclasses.dataclass
    class Bare:
        epochs: int = 2
        batch_size: int = 4

    found = recipe_help.describe_fields(Bare)
    assert found == {"epochs": "epochs", "batch_size": "batch_size"}
