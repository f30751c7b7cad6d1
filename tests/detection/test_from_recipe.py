import dataclasses
import types

import keras
import pytest
from small_detectors import make_backbone

from keras_epsanet.detection import from_recipe
from keras_epsanet.detection.from_recipe import paper_rows_beside
from keras_epsanet.training import CocoRecipe

COCO = ["person", *map(str, range(1, 79)), "toothbrush"]


def test_the_paper_s_rows_stand_beside_coco_alone():
    recipe = CocoRecipe(detector="mask_rcnn")
    rows = paper_rows_beside(recipe, COCO)
    assert list(rows) == ["paper, boxes", "paper, masks"]
    assert paper_rows_beside(recipe, ["Bag", "Coat"]) is None
    other = CocoRecipe(model="epsanet101_small")
    assert paper_rows_beside(other, COCO) is None


@pytest.mark.parametrize("initializer", [None, "he_normal"])
def test_what_the_detector_keeps_is_given(monkeypatch, initializer):
    seen = {}
    monkeypatch.setattr(
        from_recipe, "RetinaNet", lambda backbone, n, **options: options
    )
    monkeypatch.setattr(
        from_recipe.EPSANetBackbone,
        "from_variant",
        lambda name, **options: seen.update(options),
    )
    recipe = CocoRecipe(
        head_initializer=initializer, image_size=48, longer_side=64
    )
    options = from_recipe.make_detector(
        recipe, 2, weights="FILE", class_names=["hat", "bag"]
    )
    assert options == {
        "head_initializer": initializer,
        "image_size": (48, 64),
        "class_names": ["hat", "bag"],
    }
    assert seen["weights"] == "FILE" and seen["freeze_stages"] == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_rate_of_the_backbone_is_its_own(optimizer):
    backbone = make_backbone()
    model = keras.Sequential([backbone, keras.layers.Conv2D(2, 1)])
    recipe = CocoRecipe(backbone_rate=0.25, optimizer=optimizer)
    from_recipe.compile_detector(model, recipe, steps_per_epoch=1000)
    rates = dict(model.optimizer.get_config()["scaled_rates"])
    assert rates == dict.fromkeys(
        (x.path for x in backbone.trainable_variables), 0.25
    )


@pytest.mark.parametrize("detector", ["retinanet", "mask_rcnn"])
def test_batches_are_those_of_the_recipe(monkeypatch, detector):
    seen = []
    monkeypatch.setattr(
        from_recipe.coco,
        "load",
        lambda *given, **options: seen.append((given, options)),
    )
    recipe = CocoRecipe(
        detector=detector,
        batch_size=6,
        accumulation_steps=2,
        image_size=48,
        longer_side=64,
        seed=5,
    )
    from_recipe.make_batches("truth", recipe, training=True, first_step=7)
    ((positional, options),) = seen
    assert positional == ("truth", recipe.step_batch_size)
    assert options == {
        "training": True,
        "image_size": (48, 64),
        "pad_to": 32,
        "masks": detector == "mask_rcnn",
        "seed": 5,
        "first_step": 7,
        "augmentation": None,
    }
    changed = dataclasses.replace(recipe, crop=True, least_image_size=40)
    from_recipe.make_batches("truth", changed, training=True)
    from_recipe.make_batches("truth", changed)
    augmentations = [options["augmentation"] for _, options in seen[1:]]
    expected = from_recipe.coco.Augmentation(crop=True, least_image_size=40)
    # An evaluation sees images as they are.
    assert augmentations == [expected, None]


@pytest.mark.parametrize("names", [None, ("cat", "dog")])
def test_a_run_of_an_older_version_has_names_and_sizes_beside_the_file(
    names, tmp_path, monkeypatch
):
    """A file of now knows them itself, and none is beside it."""
    recipe = CocoRecipe(image_size=48, longer_side=64)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    if names is None:
        text = '["hat", "b\u00e4g"]'
        (tmp_path / "class_names.json").write_text(text, encoding="utf-8")
    file = types.SimpleNamespace(class_names=names, image_size=(8, 9))
    monkeypatch.setattr(
        from_recipe.keras.saving, "load_model", lambda path, compile: file
    )
    detector = from_recipe.load_detector(tmp_path)
    assert list(detector.class_names) == [*(names or ("hat", "bäg"))]
    assert detector.image_size == ((8, 9) if names else (48, 64))
