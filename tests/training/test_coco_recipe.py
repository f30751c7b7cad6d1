import json

import keras
import pytest

from keras_epsanet.training import COCO, CocoRecipe, make_schedule

STEPS = 7330


@pytest.mark.parametrize(
    "epoch, rate",
    [(1, 0.01), (7.9, 0.01), (8, 0.001), (10.9, 0.001), (11, 0.0001)],
)
def test_the_rate_falls_to_a_tenth_after_epochs_8_and_11(epoch, rate):
    schedule = make_schedule(COCO, STEPS)
    assert float(schedule(round(epoch * STEPS))) == pytest.approx(rate)


def test_the_rate_rises_over_500_steps():
    schedule = make_schedule(COCO, STEPS)
    assert float(schedule(249)) == pytest.approx(0.005)
    assert float(schedule(500)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "options, after",
    [
        ({"epochs": 24}, (16, 22)),
        ({"epochs": 1}, (8 / 12, 11 / 12)),
        ({"epochs": 24, "decay_epochs": (8, 11)}, (8, 11)),
    ],
)
def test_the_falls_follow_the_length_of_the_training(options, after):
    recipe = CocoRecipe(warm_up_steps=0, **options)
    assert recipe.decay_after == pytest.approx(after)
    falls = make_schedule(recipe, 240)
    for i, epoch in enumerate(after):
        step = round(240 * epoch)
        assert float(falls(step - 1)) == pytest.approx(0.01 / 10**i)
        assert float(falls(step)) == pytest.approx(0.001 / 10**i)


@pytest.mark.parametrize("steps", [600, 1000, STEPS])
def test_the_warm_up_is_as_many_steps_of_any_data_set(steps):
    schedule = make_schedule(CocoRecipe(), steps)
    assert float(schedule(498)) == pytest.approx(0.01 * 499 / 500)
    assert float(schedule(250)) == pytest.approx(0.01 * 251 / 500)


def test_updates_of_several_parts_warm_up_as_long():
    schedule = make_schedule(CocoRecipe(accumulation_steps=4), 1000)
    assert float(schedule(999)) == pytest.approx(0.01 / 2)


def test_a_warm_up_in_epochs_comes_before_one_in_steps():
    schedule = make_schedule(CocoRecipe(warm_up_epochs=0.5), 100)
    assert float(schedule(24)) == pytest.approx(0.005)
    assert float(schedule(50)) == pytest.approx(0.01)


def test_no_gradient_is_clipped_as_in_mmdetection_2():
    assert CocoRecipe().clipnorm is None


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
        {"warm_up_steps": 1.5},
        {"head_initializer": ""},
        {"freeze_stages": -1},
        {"norm_eval": 1},
    ],
)
def test_a_value_out_of_range_is_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"Received: {name}="):
        CocoRecipe(**option)


def test_json_of_version_0_1_0_keeps_its_warm_up():
    content = json.loads(CocoRecipe(warm_up_epochs=0.0).to_json())
    del content["warm_up_steps"]
    recipe = CocoRecipe.from_json(json.dumps(content))
    assert recipe.warm_up(STEPS) == 0
    content["warm_up_epochs"] = 0.25
    assert CocoRecipe.from_json(json.dumps(content)).warm_up(STEPS) == 0.25


def test_the_libraries_have_retinanet_alone():
    assert CocoRecipe(library="keras_cv").detector == "retinanet"
    with pytest.raises(ValueError, match="Received: detector=mask_rcnn"):
        CocoRecipe(library="keras_cv", detector="mask_rcnn")
