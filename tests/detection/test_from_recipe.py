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


@pytest.fixture
def made(monkeypatch):
    """What detectors and backbones are made with, instead of them."""
    seen = {}

    def note(name, *result):
        def make(*given, **options):
            seen[name] = given, options
            return name

        return make

    for name in (
        "RetinaNet",
        "FasterRCNN",
        "MaskRCNN",
        "keras_cv_retinanet",
        "keras_hub_retinanet",
    ):
        monkeypatch.setattr(from_recipe, name, note(name))
    for name in ("EPSANetBackbone", "ResNetBackbone"):
        backbone = types.SimpleNamespace(from_variant=note(name))
        monkeypatch.setattr(from_recipe, name, backbone)
    policy = note("policy")
    monkeypatch.setattr(from_recipe.keras.config, "set_dtype_policy", policy)
    return seen


@pytest.mark.parametrize(
    "detector, cls", [("faster_rcnn", "FasterRCNN"), ("mask_rcnn", "MaskRCNN")]
)
def test_a_detector_with_proposals_is_that_of_the_recipe(made, detector, cls):
    recipe = CocoRecipe(
        detector=detector,
        num_samples=64,
        sampling_ratio=3,
        seed=5,
        precision="mixed_bfloat16",
        image_size=48,
        longer_side=64,
    )
    names = ["hat", "bag"]
    assert from_recipe.make_detector(recipe, 2, class_names=names) == cls
    given, options = made[cls]
    assert given == ("EPSANetBackbone", 2)
    assert options == {
        "num_samples": 64,
        "sampling_ratio": 3,
        "seed": 5,
        "image_size": (48, 64),
        "class_names": names,
    }
    assert made["policy"] == (("mixed_bfloat16",), {})


@pytest.mark.parametrize(
    "library, side",
    [("keras_epsanet", None), ("keras_cv", 256), ("keras_hub", 256)],
)
@pytest.mark.parametrize("longer_side", [129, 256])
def test_a_library_has_images_of_one_size(made, library, side, longer_side):
    recipe = CocoRecipe(library=library, longer_side=longer_side, image_size=96)
    found = from_recipe.make_detector(recipe, 2)
    shape = made["EPSANetBackbone"][1]["image_shape"]
    assert shape == (side, side, 3)
    if side is not None:
        assert found == f"{library}_retinanet"
        assert made[found] == (("EPSANetBackbone", 2), {})


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({}, {"freeze_stages": 1, "norm_eval": True, "synchronized": False}),
        ({"freeze": True}, {"freeze_stages": 4}),
        ({"freeze_stages": 3}, {"freeze_stages": 3}),
        (
            {"norm_eval": False, "sync_bn": True},
            {
                "norm_eval": False,
                # An argument of TensorFlow's BatchNorm alone.
                "synchronized": keras.backend.backend() == "tensorflow",
            },
        ),
    ],
)
def test_the_backbone_is_that_of_the_recipe(made, fields, expected):
    recipe = CocoRecipe(model="resnet50", **fields)
    from_recipe.make_detector(recipe, 2, weights="FILE")
    given, options = made["ResNetBackbone"]
    assert given == ("resnet50",) and options["weights"] == "FILE"
    assert expected.items() <= options.items()
    assert "EPSANetBackbone" not in made


@pytest.mark.parametrize("library", ["keras_cv", "keras_hub"])
def test_a_library_evaluates_batches_of_one_size(monkeypatch, library):
    """Of 12 and 20 images 4 divide both; they stay as they are loaded."""
    seen, forms = [], []

    class Batches:
        def map(self, form):
            forms.append(form)
            return "mapped"

    def load(annotations, batch_size, **options):
        seen.append((batch_size, options["pad_to"]))
        return batches

    batches = Batches()
    monkeypatch.setattr(from_recipe.coco, "load", load)
    annotations = types.SimpleNamespace(images=20 * [None])
    recipe = CocoRecipe(
        library=library, batch_size=12, image_size=96, longer_side=300
    )
    assert from_recipe.make_batches(annotations, recipe) is batches
    found = from_recipe.make_batches(annotations, recipe, training=True)
    assert found == "mapped"
    assert seen == [(4, (384, 384)), (12, (384, 384))]
    assert forms == [
        getattr(from_recipe.coco, library.replace("keras", "to_keras"))
    ]


def test_all_changes_of_images_are_those_of_the_recipe():
    recipe = CocoRecipe(photometric=True)
    expected = from_recipe.coco.Augmentation(photometric=True)
    assert from_recipe.make_augmentation(recipe) == expected
    assert from_recipe.make_augmentation(CocoRecipe()) is None


def test_a_detector_of_a_library_is_not_loaded(tmp_path):
    recipe = CocoRecipe(library="keras_cv")
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    with pytest.raises(ValueError, match="Received: library=keras_cv"):
        from_recipe.load_detector(tmp_path)


def test_keras_cv_learns_from_its_own_losses(monkeypatch):
    seen = {}
    backbone = types.SimpleNamespace(trainable_variables=[])
    monkeypatch.setattr(from_recipe, "find_backbone", lambda model: backbone)
    model = types.SimpleNamespace(compile=lambda **x: seen.update(x))
    for library, losses in (
        ("keras_cv", {"classification_loss": "focal", "box_loss": "smoothl1"}),
        ("keras_hub", {}),
        ("keras_epsanet", {}),
    ):
        seen.clear()
        recipe = CocoRecipe(library=library)
        from_recipe.compile_detector(model, recipe, steps_per_epoch=1000)
        assert seen.pop("optimizer").learning_rate is not None
        assert seen == losses


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
        "shard": (0, 1),
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
