import argparse
import dataclasses
import random

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.training import (
    COCO,
    IMAGENET,
    ClassifierRecipe,
    CocoRecipe,
    ImageNetRecipe,
    Recipe,
)

STEPS = 5004  # In an epoch of ImageNet, 1,281,167 // 256.


def rates(recipe, *steps, steps_per_epoch=STEPS):
    schedule = training.make_schedule(recipe, steps_per_epoch)
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize(
    "epoch, before, after",
    [(30, 0.1, 0.01), (60, 0.01, 1e-3), (90, 1e-3, 1e-4)],
)
def test_the_rate_falls_to_a_tenth_after_every_30_epochs(epoch, before, after):
    border = epoch * STEPS
    np.testing.assert_allclose(
        rates(IMAGENET, border - 1, border), [before, after], rtol=1e-6
    )


def test_the_first_and_the_last_step_have_the_paper_s_rates():
    np.testing.assert_allclose(
        rates(IMAGENET, 0, 120 * STEPS - 1), [0.1, 1e-4], rtol=1e-6
    )


@pytest.mark.parametrize("batch_size, rate", [(64, 0.025), (1024, 0.4)])
def test_the_rate_grows_with_the_batch(batch_size, rate):
    recipe = Recipe(batch_size=batch_size, accumulation_steps=4)
    np.testing.assert_allclose(rates(recipe, 0), [rate], rtol=1e-6)
    assert recipe.step_batch_size == batch_size // 4


def test_the_warm_up_rises_linearly_and_then_steps_are_as_without():
    recipe = Recipe(warm_up_epochs=5)
    np.testing.assert_allclose(
        rates(recipe, 0, 24, 49, 50, 299, 300, steps_per_epoch=10),
        [0.1 / 50, 0.05, 0.1, 0.1, 0.1, 0.01],
        rtol=1e-6,
    )


def test_the_cosine_falls_from_the_warm_up_to_zero():
    recipe = Recipe(schedule="cosine", warm_up_epochs=20)
    np.testing.assert_allclose(
        rates(recipe, 199, 200, 700, 1199, 1200, steps_per_epoch=10),
        [0.1, 0.1, 0.05, 0.05 * (1 - np.cos(np.pi / 1000)), 0],
        rtol=1e-4,
        atol=1e-9,
    )


def test_the_rate_is_exact_where_float32_cannot_count_steps():
    border = 30 * 1_000_000
    np.testing.assert_allclose(
        rates(IMAGENET, border - 1, border, steps_per_epoch=1_000_000),
        [0.1, 0.01],
        rtol=1e-6,
    )


def test_the_optimizer_comes_back_from_its_config_with_the_schedule():
    recipe = Recipe(warm_up_epochs=1, schedule="cosine", clipnorm=5.0)
    optimizer = training.make_optimizer(recipe, 10)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()
    assert float(copy.learning_rate) == float(optimizer.learning_rate)


def test_the_paper_s_optimizer():
    config = training.make_optimizer(IMAGENET, STEPS).get_config()
    expected = {"momentum": 0.9, "nesterov": False, "l2": 1e-4}
    assert {name: config[name] for name in expected} == expected
    assert config["global_clipnorm"] is None


# Fields of all recipes that `make_optimizer` and `make_schedule` take: other
# values than the defaults, and how to see them. The others are for the scripts.
USED = {
    "epochs": (7, lambda o, schedule: schedule["epochs"]),
    "batch_size": (512, lambda o, schedule: schedule["peak"] * 256 / 0.1),
    "accumulation_steps": (2, lambda o, _: o.gradient_accumulation_steps),
    "learning_rate": (0.5, lambda o, schedule: schedule["peak"]),
    "schedule": ("cosine", lambda o, schedule: schedule["kind"]),
    "decay_epochs": (9, lambda o, schedule: schedule["decay_epochs"]),
    "decay_factor": (0.5, lambda o, schedule: schedule["decay_factor"]),
    "warm_up_epochs": (2, lambda o, schedule: schedule["warm_up_epochs"]),
    "momentum": (0.5, lambda o, _: o.momentum),
    "nesterov": (True, lambda o, _: o.nesterov),
    "l2": (0.5, lambda o, _: o.l2),
    "l2_on_all": (
        False,
        lambda o, _: not o.get_config()["l2_exclusions"]["names"],
    ),
    "clipnorm": (2.5, lambda o, _: o.global_clipnorm),
}
OF_SCRIPTS = {"model", "image_size", "ema", "precision", "sync_bn", "seed"}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Recipe)])
def test_every_field_reaches_the_optimizer_or_is_for_the_scripts(field):
    if field in OF_SCRIPTS:
        assert field not in USED
        return
    value, see = USED[field]

    def seen(recipe):
        optimizer = training.make_optimizer(recipe, 10)
        schedule = optimizer.get_config()["learning_rate"]["config"]
        return see(optimizer, schedule)

    assert seen(Recipe(**{field: value})) == pytest.approx(value)
    assert seen(Recipe()) != pytest.approx(value)


def test_the_average_has_the_recipe_s_share():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert training.make_average(model, Recipe(ema=0.75)).decay == 0.75
    assert training.make_average(model, Recipe()) is None


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("sync_bn", [True, False])
@pytest.mark.parametrize("devices", [1, 2])
def test_batch_norm_s_statistics_are_those_of_the_recipe(
    monkeypatch, backend, sync_bn, devices
):
    """JAX computes them over all devices, without an option of the layer."""
    several = object() if devices > 1 and backend == "jax" else None
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: several)
    recipe = Recipe(sync_bn=sync_bn)
    if several and not sync_bn:
        with pytest.raises(ValueError, match="Received: sync_bn=False"):
            training.synchronized(recipe)
    else:
        expected = sync_bn and backend == "tensorflow"
        assert training.synchronized(recipe) is expected


@pytest.mark.parametrize("on_all", [True, False])
def test_the_l2_term_can_leave_out_biases_and_batch_norms(on_all):
    recipe = Recipe(l2=0.5, momentum=0.0, l2_on_all=on_all, batch_size=256)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
        ]
    )
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones_like(weight))
    optimizer = training.make_optimizer(recipe, 10)
    weights = model.trainable_weights
    optimizer.apply([keras.ops.zeros_like(w) for w in weights], weights)
    values = {w.name: float(keras.ops.max(w)) for w in weights}
    rest = pytest.approx(0.95 if on_all else 1.0)
    assert values == {
        "kernel": pytest.approx(0.95),
        "bias": rest,
        "gamma": rest,
        "beta": rest,
    }


def test_float16_scales_the_loss():
    optimizer = training.make_optimizer(Recipe(precision="mixed_float16"), 10)
    assert isinstance(optimizer, training.LossScale)


def test_the_loss_is_smoothed_cross_entropy_of_logits():
    logits, label = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0, 0]])
    log = logits - np.log(np.exp(logits).sum())
    expected = -np.sum((0.9 * label + 0.1 / 3) * log)
    loss = training.make_loss(IMAGENET)(label, logits)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


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


@pytest.mark.parametrize(
    "option",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"val_share": 1},
        {"val_share": -0.1},
        {"flip": 1},
        {"freeze": None},
    ],
    ids=str,
)
def test_a_classifier_s_value_out_of_range_is_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"`{name}`.* Received: {name}="):
        ClassifierRecipe(**option)
    assert ClassifierRecipe(patience=1, val_share=0).patience == 1


def test_nesterov_s_form_needs_a_momentum():
    with pytest.raises(ValueError, match="nesterov=True, momentum=0"):
        Recipe(nesterov=True, momentum=0)
    assert not Recipe(momentum=0).nesterov


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
    "ema": None,
    "precision": "float32",
    "sync_bn": False,
    "seed": 0,
}
OF_IMAGENET = {"label_smoothing": 0.1, "augmentations": None, "antialias": True}
OF_CLASSIFIERS = {
    "image_size": 48,
    "epochs": 2,
    "batch_size": 64,
    "schedule": "cosine",
    "warm_up_epochs": 0.2,
    "nesterov": True,
    "l2": 0,
    "label_smoothing": 0.1,
    "flip": False,
    "augmentations": None,
    "freeze": False,
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


@pytest.mark.parametrize("cls", [ImageNetRecipe, ClassifierRecipe])
@pytest.mark.parametrize(
    "augmentations, message",
    [
        (["foo"], "names among rand_augment"),
        ("mix_up", "`augmentations` must be names among"),
        ({"mix_up": {"alhpa": 1}}, "'alhpa'"),
        ({"mix_up": 0.2}, "mapping"),
    ],
)
def test_augmentations_that_cannot_be_made_are_refused(
    cls, augmentations, message
):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        cls(augmentations=augmentations)


def test_a_recipe_draws_no_random_number():
    names = ("rand_augment", "random_erasing", "mix_up", "cut_mix")
    before = random.getstate()
    recipe = ClassifierRecipe(augmentations=names)
    ClassifierRecipe.from_json(recipe.to_json())
    # From these Keras draws the seeds of initial weights.
    assert random.getstate() == before


def test_numbers_of_numpy_become_those_of_json():
    recipe = Recipe(epochs=np.int64(3), learning_rate=np.float32(0.5))
    assert type(recipe.epochs) is int and type(recipe.learning_rate) is float
    assert Recipe.from_json(recipe.to_json()) == recipe


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
    "val_share": ("0.5", 0.5),
    "patience": ("2", 2),
    "detector": ("mask_rcnn", "mask_rcnn"),
    "library": ("keras_cv", "keras_cv"),
    "optimizer": ("adam", "adam"),
    "num_samples": ("8", 8),
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
