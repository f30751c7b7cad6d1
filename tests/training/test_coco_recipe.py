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
