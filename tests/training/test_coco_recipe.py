import argparse
import dataclasses
import json

import keras
import pytest

from keras_epsanet.training import (
    COCO,
    CocoRecipe,
    LossScale,
    ScaledAdam,
    make_optimizer,
    make_schedule,
)
from keras_epsanet.training.coco_recipe import DETECTORS

STEPS = 7330


@pytest.mark.parametrize(
    "epoch, rate",
    [(1, 0.01), (7.9, 0.01), (8, 0.001), (10.9, 0.001), (11, 0.0001)],
)
def test_the_rate_falls_to_a_tenth_after_epochs_8_and_11(epoch, rate):
    schedule = make_schedule(COCO, STEPS)
    assert float(schedule(round(epoch * STEPS))) == pytest.approx(rate)


@pytest.mark.parametrize("epochs, falls", [(24, (16, 22)), (9, (6, 8.25))])
def test_other_lengths_have_their_falls_at_the_same_shares(epochs, falls):
    schedule = make_schedule(CocoRecipe(epochs=epochs), STEPS)
    assert schedule.decay_epochs == pytest.approx(falls)


def test_falls_that_are_given_stay_whatever_the_length():
    recipe = CocoRecipe(epochs=24, decay_epochs=(8, 11))
    assert make_schedule(recipe, STEPS).decay_epochs == (8, 11)


@pytest.mark.parametrize("steps", [STEPS, 611, 60])
def test_the_rate_rises_over_500_steps_whatever_an_epoch_has(steps):
    schedule = make_schedule(COCO, steps)
    rates = [float(schedule(step)) for step in (0, 249, 498, 499)]
    assert rates == pytest.approx([0.00002, 0.005, 0.00998, 0.01])


def test_a_warm_up_counts_updates_of_accumulated_parts():
    recipe = CocoRecipe(accumulation_steps=4)
    schedule = make_schedule(recipe, 4 * STEPS)
    assert float(schedule(1998)) < float(schedule(1999))
    assert float(schedule(1999)) == pytest.approx(0.01)


def test_a_warm_up_as_long_as_the_training_is_refused():
    recipe = CocoRecipe(epochs=5, accumulation_steps=2)
    assert make_schedule(recipe, 201)
    with pytest.raises(ValueError, match="training, 500. Received: warm_up"):
        make_schedule(recipe, 200)


def options(*arguments):
    parser = argparse.ArgumentParser()
    CocoRecipe.add_options(parser)
    return parser.parse_args(arguments)


def test_a_warm_up_that_is_given_takes_the_place_of_the_other():
    epochs = COCO.with_options(options("--warm-up-epochs", "0.5"))
    assert (epochs.warm_up_epochs, epochs.warm_up_steps) == (0.5, None)
    steps = epochs.with_options(options("--warm-up-steps", "7"))
    assert (steps.warm_up_epochs, steps.warm_up_steps) == (0, 7)
    assert epochs.with_options(options("--warm-up-steps", "none")) == epochs
    both = options("--warm-up-epochs", "1", "--warm-up-steps", "7")
    with pytest.raises(ValueError, match="warm_up_epochs=1, warm_up_steps=7"):
        COCO.with_options(both)


@pytest.mark.parametrize("detector", DETECTORS)
def test_no_gradient_is_clipped_as_in_mmdetection_2(detector):
    assert CocoRecipe(detector=detector).clipnorm is None


def test_a_recipe_in_epochs_is_read_as_it_was():
    former = json.loads(COCO.to_json())
    former |= {"warm_up_epochs": 500 / 7330, "decay_epochs": [8, 11]}
    del former["warm_up_steps"], former["head_initializer"]
    recipe = CocoRecipe.from_json(json.dumps(former))
    assert (recipe.warm_up_steps, recipe.decay_epochs) == (None, (8, 11))
    schedules = [make_schedule(x, STEPS) for x in (recipe, COCO)]
    assert schedules[0].get_config() == schedules[1].get_config()


def test_adam_takes_clipping_and_accumulation_too():
    recipe = CocoRecipe(optimizer="adam", clipnorm=3, accumulation_steps=2)
    optimizer = make_optimizer(recipe, 4 * STEPS)
    assert type(optimizer) is ScaledAdam
    assert optimizer.global_clipnorm == 3
    assert optimizer.gradient_accumulation_steps == 2
    half = dataclasses.replace(recipe, precision="mixed_float16")
    assert type(make_optimizer(half, 4 * STEPS)) is LossScale


@pytest.mark.parametrize(
    "other", [{"detector": "faster_rcnn"}, {"library": "keras_hub"}]
)
def test_other_detectors_have_no_initializer_of_heads(other):
    assert CocoRecipe(head_initializer="he_normal", detector="retinanet")
    with pytest.raises(ValueError, match="Received: head_initializer=he_nor"):
        CocoRecipe(head_initializer="he_normal", **other)


def test_the_schedule_comes_back_from_its_config():
    schedule = make_schedule(COCO, STEPS)
    config = keras.saving.serialize_keras_object(schedule)
    other = keras.saving.deserialize_keras_object(config)
    assert float(other(9 * STEPS)) == float(schedule(9 * STEPS))


def test_json_gives_the_recipe_back():
    assert CocoRecipe.from_json(COCO.to_json()) == COCO
    assert COCO.differences(CocoRecipe(epochs=24)) == ["epochs: 12, not 24"]


def test_json_of_version_0_1_0_is_read_without_a_classifier_s_fields():
    former = {"label_smoothing": 0.0, "augmentations": None, "antialias": True}
    content = {**json.loads(COCO.to_json()), **former}
    assert CocoRecipe.from_json(json.dumps(content)) == COCO
    content["label_smoothing"] = 0.1
    with pytest.raises(ValueError, match="'label_smoothing'"):
        CocoRecipe.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "option",
    [
        {"decay_epochs": (11, 8)},
        {"detector": "yolo"},
        {"library": "torchvision"},
        {"longer_side": 799},
        {"clipnorm": 0},
        {"freeze_stages": -1},
        {"norm_eval": 1},
        {"head_initializer": ""},
        {"warm_up_steps": -1},
    ],
)
def test_a_value_out_of_range_is_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"Received: {name}="):
        CocoRecipe(**option)


def test_the_libraries_have_retinanet_alone():
    assert CocoRecipe(library="keras_cv").detector == "retinanet"
    with pytest.raises(ValueError, match="Received: detector=mask_rcnn"):
        CocoRecipe(library="keras_cv", detector="mask_rcnn")


def test_an_epoch_is_evaluated_before_patience_ends():
    assert CocoRecipe(evaluate_every=3, patience=3).patience == 3
    with pytest.raises(ValueError, match="Received: patience=2"):
        CocoRecipe(evaluate_every=3, patience=2)


def test_the_least_size_is_below_the_size():
    assert CocoRecipe(least_image_size=640).least_image_size == 640
    with pytest.raises(ValueError, match="Received: least_image_size=801"):
        CocoRecipe(least_image_size=801)


def test_defaults_are_those_of_the_paper_or_of_mmdetection():
    """Section 4.2, and the configurations that the detectors there have."""
    found = dataclasses.asdict(COCO)
    expected = {
        "image_size": 800,
        "longer_side": 1333,
        "epochs": 12,
        "batch_size": 16,
        "learning_rate": 0.01,
        "schedule": "step",
        "decay_epochs": None,
        "decay_factor": 0.1,
        "warm_up_epochs": 0,
        "warm_up_steps": 500,
        "momentum": 0.9,
        "l2": 1e-4,
        "detector": "retinanet",
        "library": "keras_epsanet",
        "optimizer": "sgd",
        "num_samples": 512,
        "sampling_ratio": 2,
        "freeze_stages": 1,
        "norm_eval": True,
        "head_initializer": None,
        "least_image_size": None,
        "crop": False,
        "photometric": False,
        "val_share": 0.2,
        "evaluate_every": 1,
        "patience": None,
    }
    assert {name: found[name] for name in expected} == expected
    assert COCO.peak_learning_rate == 0.01


@pytest.mark.parametrize("name", ["longer_side", "least_image_size"])
def test_sides_may_be_as_long_as_the_size(name):
    assert getattr(CocoRecipe(image_size=640, **{name: 640}), name) == 640
