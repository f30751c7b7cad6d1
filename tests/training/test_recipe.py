import argparse
import dataclasses
import random

import pytest

from keras_epsanet.training import (
    COCO,
    IMAGENET,
    ClassifierRecipe,
    CocoRecipe,
    ImageNetRecipe,
    Recipe,
)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(ema=0.999, clipnorm=1.0, decay_epochs=[0.5, 60]),
        IMAGENET,
        COCO,
        ClassifierRecipe(augmentations=["mix_up"]),
        ImageNetRecipe(
            decay_epochs=(30, 60, 90),
            augmentations={"mix_up": {}, "rand_augment": {"factor": [0, 1]}},
        ),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_json_gives_the_recipe_back(recipe):
    copy = type(recipe).from_json(recipe.to_json())
    assert copy == recipe and not recipe.differences(copy)
    assert vars(copy) == vars(recipe)


@pytest.mark.parametrize("text", ["{", '{"batchsize": 3}', "3"])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="must be the JSON of a recipe"):
        Recipe.from_json(text)


def test_differences_name_option_and_both_values():
    other = dataclasses.replace(IMAGENET, epochs=90, ema=0.9)
    assert IMAGENET.differences(other) == [
        "epochs: 120, not 90",
        "ema: None, not 0.9",
    ]
    assert IMAGENET.differences(ImageNetRecipe()) == []


def test_a_frozen_backbone_has_no_rate():
    with pytest.raises(ValueError, match="freeze=True, backbone_rate=0.1"):
        Recipe(freeze=True, backbone_rate=0.1)


def test_nesterov_s_form_needs_a_momentum():
    with pytest.raises(ValueError, match="nesterov=True, momentum=0"):
        Recipe(nesterov=True, momentum=0)
    assert not Recipe(momentum=0).nesterov


def test_a_warm_up_ends_before_the_training_does():
    assert Recipe(epochs=3, warm_up_epochs=2.9)
    for epochs in (3, 3.1):
        message = f"below epochs=3. Received: warm_up_epochs={epochs}"
        with pytest.raises(ValueError, match=message):
            Recipe(epochs=3, warm_up_epochs=epochs)


def test_the_parts_of_a_batch_have_one_size():
    assert Recipe(batch_size=12, accumulation_steps=3).step_batch_size == 4
    with pytest.raises(ValueError, match="batch_size=12. .*on_steps=5$"):
        Recipe(batch_size=12, accumulation_steps=5)


# Section 4.1 of the paper.
DEFAULTS = {
    "model": "epsanet50_small",
    "image_size": 224,
    "epochs": 120,
    "batch_size": 256,
    "accumulation_steps": 1,
    "learning_rate": 0.1,
    "schedule": "step",
    "decay_epochs": 30,
    "decay_factor": 0.1,
    "warm_up_epochs": 0,
    "momentum": 0.9,
    "nesterov": False,
    "l2": 1e-4,
    "l2_on_all": True,
    "clipnorm": None,
    "freeze": False,
    "backbone_rate": 1.0,
    "ema": None,
    "precision": "float32",
    "sync_bn": False,
    "seed": 0,
}
OF_ALL_CLASSIFIERS = {
    "label_smoothing": 0.1,
    "augmentations": None,
    "recalibration_steps": 0,
    "teacher": None,
    "teacher_share": 0.5,
    "temperature": 3.0,
}
OF_IMAGENET = {**OF_ALL_CLASSIFIERS, "antialias": True}
OF_CLASSIFIERS = {
    **OF_ALL_CLASSIFIERS,
    "image_size": 48,
    "epochs": 2,
    "batch_size": 64,
    "schedule": "cosine",
    "warm_up_epochs": 0.2,
    "nesterov": True,
    "l2": 0,
    "flip": False,
    "val_share": 0.2,
    "patience": None,
}


@pytest.mark.parametrize(
    "recipe, images_per_rate, others",
    [
        (Recipe(), 256, {}),
        (IMAGENET, 256, OF_IMAGENET),
        (ClassifierRecipe(), 64, OF_CLASSIFIERS),
    ],
)
def test_defaults_are_those_of_the_trainings(recipe, images_per_rate, others):
    assert dataclasses.asdict(recipe) == DEFAULTS | others
    assert recipe.peak_learning_rate == 0.1
    assert recipe.images_per_rate == images_per_rate


def test_a_recipe_draws_no_random_number():
    names = ("rand_augment", "random_erasing", "mix_up", "cut_mix")
    before = random.getstate()
    recipe = ClassifierRecipe(augmentations=names)
    ClassifierRecipe.from_json(recipe.to_json())
    # From these Keras draws the seeds of initial weights.
    assert random.getstate() == before


def parse(cls, *arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    cls.add_options(parser)
    return parser.parse_args(arguments)


# As text, and what becomes of it. Every field of every recipe stands here.
OPTIONS = {
    "model": ("tiny", "tiny"),
    "image_size": ("96", 96),
    "epochs": ("7", 7),
    "batch_size": ("12", 12),
    "accumulation_steps": ("2", 2),
    "learning_rate": ("1e-3", 1e-3),
    "schedule": ("cosine", "cosine"),
    "decay_epochs": ("0.5,2,3.5", (0.5, 2, 3.5)),
    "decay_factor": ("0.5", 0.5),
    "warm_up_epochs": ("0.5", 0.5),
    "momentum": ("0.5", 0.5),
    "nesterov": (None, True),
    "l2": ("0", 0),
    "l2_on_all": (None, False),
    "clipnorm": ("2.5", 2.5),
    "ema": ("0.5", 0.5),
    "precision": ("mixed_bfloat16", "mixed_bfloat16"),
    "sync_bn": (None, True),
    "seed": ("3", 3),
    "label_smoothing": ("0.25", 0.25),
    "augmentations": ("mix_up,cut_mix", ("mix_up", "cut_mix")),
    "antialias": (None, False),
    "flip": (None, True),
    "freeze": (None, True),
    "backbone_rate": ("0.5", 0.5),
    "recalibration_steps": ("5", 5),
    "teacher": ("resnet.pth", "resnet.pth"),
    "teacher_share": ("0.25", 0.25),
    "temperature": ("2", 2),
    "val_share": ("0.5", 0.5),
    "patience": ("2", 2),
    "least_image_size": ("640", 640),
    "crop": (None, True),
    "photometric": (None, True),
    "evaluate_every": ("2", 2),
    "detector": ("mask_rcnn", "mask_rcnn"),
    "library": ("keras_cv", "keras_cv"),
    "optimizer": ("adam", "adam"),
    "num_samples": ("8", 8),
    "sampling_ratio": ("0", 0),
    "longer_side": ("1000", 1000),
    "freeze_stages": ("0", 0),
    "norm_eval": (None, False),
    "warm_up_steps": ("3", 3),
    "head_initializer": ("he_normal", "he_normal"),
}


@pytest.mark.parametrize(
    "recipe",
    # Of a recipe with a warm-up in steps none in epochs can be made.
    [Recipe(), IMAGENET, CocoRecipe(warm_up_steps=None), ClassifierRecipe()],
    ids=lambda recipe: type(recipe).__name__,
)
def test_every_field_is_an_option_of_the_command_line(recipe):
    assert recipe.with_options(parse(type(recipe))) == recipe
    for field in dataclasses.fields(recipe):
        text, value = OPTIONS[field.name]
        option = f"--{field.name.replace('_', '-')}"
        if text is None:
            option = option if value else option.replace("--", "--no-")
            arguments = [option]
        else:
            arguments = [option, text]
        changed = recipe.with_options(parse(type(recipe), *arguments))
        expected = dataclasses.replace(recipe, **{field.name: value})
        assert changed == expected, arguments
        assert type(getattr(changed, field.name)) is type(value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--epochs 0", "`epochs` must be a positive integer. Received: epochs"),
        ("--epochs big", "`epochs` must be a positive integer. Received: epo"),
        ("--seed -1", "`seed` must be an integer from 0 to"),
        ("--learning-rate nan", "must be a positive number"),
        ("--augmentations foo", "names among rand_augment"),
        ("--decay-epochs 60,30", "a tuple of rising ones"),
        ("--sync-bn=false", "ignored explicit argument"),
    ],
)
def test_the_command_line_has_the_same_checks(arguments, message):
    with pytest.raises(argparse.ArgumentError, match=message):
        parse(ImageNetRecipe, *arguments.split())


def test_choices_of_a_script_are_the_allowed_ones():
    parser = argparse.ArgumentParser(exit_on_error=False)
    ClassifierRecipe.add_options(parser, model=["tiny"])
    assert parser.parse_args(["--model", "tiny"]).model == "tiny"
    with pytest.raises(argparse.ArgumentError, match="invalid choice: 'big'"):
        parser.parse_args(["--model", "big"])
    # What is no field of the recipe is of no account.
    arguments = argparse.Namespace(model="tiny", output="somewhere")
    assert ClassifierRecipe().with_options(arguments).model == "tiny"


def test_none_takes_an_optional_field_away():
    changed = COCO.with_options(parse(type(COCO), "--warm-up-steps", "none"))
    assert COCO.warm_up_steps and changed.warm_up_steps is None


def test_fields_can_be_left_out_and_others_say_what_they_take():
    parser = argparse.ArgumentParser()
    Recipe.add_options(parser, leave_out=("seed", "epochs"))
    given = vars(parser.parse_args(["--batch-size", "8"]))
    assert given == {"batch_size": 8}
    text = " ".join(parser.format_help().split())
    assert "--seed" not in text and "--epochs" not in text
    assert "--batch-size SIZE images in one update of the weights" in text
    assert "together: a positive integer (default: 256)" in text
