"""Every option and every field of the recipe reaches what it is for."""

import dataclasses
import pathlib
import runpy
import sys
import types

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.training.coco_recipe import UNUSED

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_coco.py"
# A value unlike the default of scenes, and where it must be found.
FIELDS = {
    "model": ("epsanet50_large", "backbone", "model"),
    "image_size": (64, "load", "image_size"),
    "epochs": (7, "fit", "epochs"),
    "batch_size": (8, "load", "batch_size"),
    "accumulation_steps": (2, "optimizer", "accumulation_steps"),
    "learning_rate": (0.5, "optimizer", "learning_rate"),
    "schedule": ("step", "optimizer", "schedule"),
    "decay_epochs": (2, "optimizer", "decay_epochs"),
    "decay_factor": (0.5, "optimizer", "decay_factor"),
    "warm_up_epochs": (1, "optimizer", "warm_up_epochs"),
    "momentum": (0.5, "optimizer", "momentum"),
    "nesterov": (True, "optimizer", "nesterov"),
    "l2": (0.5, "optimizer", "l2"),
    "l2_on_all": (False, "optimizer", "l2_on_all"),
    "clipnorm": (3.0, "optimizer", "clipnorm"),
    "ema": (0.5, "optimizer", "ema"),
    "precision": ("mixed_bfloat16", "policy", "name"),
    "sync_bn": (True, "backbone", "synchronized"),
    "seed": (5, "load", "seed"),
    "detector": ("mask_rcnn", "detector", "name"),
    "library": ("keras_hub", "detector", "name"),
    "optimizer": ("sgd", "optimizer", "name"),
    "num_samples": (9, "detector", "num_samples"),
    "longer_side": (512, "load", "image_size"),
    "freeze_stages": (3, "backbone", "freeze_stages"),
    "norm_eval": (True, "backbone", "norm_eval"),
}
OPTIONS = {"data", "weights", "output", "scenes", "checkpoint_steps"}


class Model:
    """Stands for a detector and writes down how it is trained."""

    def __init__(self, found):
        self.found = found

    def compile(self, optimizer, **kwargs):
        pass

    def fit(self, batches, **options):
        self.found["fit"] = options
        self.found["state"].epoch = options["epochs"]

    def save(self, path):
        self.found["saved"] = path


@pytest.fixture
def dry_run(monkeypatch, tmp_path):
    """Function that runs the script with nothing behind it."""
    script = runpy.run_path(str(SCRIPT))
    names = script["train"].__globals__
    found = {}

    def note(key, **values):
        found[key] = values

    def build(name):
        def make(backbone, num_classes, **options):
            note("detector", name=name, **options)
            return Model(found)

        return make

    def from_variant(model, **options):
        note("backbone", model=model, **options)

    def make_optimizer(recipe, steps):
        fields = dataclasses.asdict(recipe)
        note("optimizer", **{**fields, "name": "sgd", "steps": steps})

    def adam(schedule, global_clipnorm):
        note("optimizer", name="adam", clipnorm=global_clipnorm)

    class Batches(list):
        def map(self, adapt):
            return self

    def load(annotations, batch_size, **options):
        note("load", batch_size=batch_size, **options)
        found.setdefault("seeds", set()).add(options["seed"])
        return Batches([{"images": np.zeros((1, 8, 8, 3))}])

    class Run:
        def __init__(self, path, recipe):
            note("run", path=path)
            self.path, self.recipe = path, recipe
            pathlib.Path(path).mkdir(parents=True, exist_ok=True)

        def restore(self, model, steps):
            found["state"] = types.SimpleNamespace(
                step=0, epoch=0, steps_per_epoch=steps
            )
            return found["state"]

        def export(self, model, name):
            return "digits"

    def checkpointing(run, state, steps, preemption, monitor):
        note("checkpoints", steps=steps)

    def annotations(file, images):
        note("annotations", file=file)
        images = [types.SimpleNamespace(labels=[0])] * 64
        return types.SimpleNamespace(images=images, class_names=["a"])

    patches = {
        "EPSANetBackbone": types.SimpleNamespace(from_variant=from_variant),
        "build_keras_hub": build("keras_hub"),
        "build_keras_cv": build("keras_cv"),
        "detection": types.SimpleNamespace(
            RetinaNet=build("retinanet"),
            FasterRCNN=build("faster_rcnn"),
            MaskRCNN=build("mask_rcnn"),
            CocoEvaluator=lambda *_, **options: note("evaluator", **options),
            paper_rows=lambda *names: note("paper"),
            draw_beside=lambda *_, **__: None,
        ),
        "distribution": types.SimpleNamespace(
            check_batch_size=lambda size, strategy: note("checked", size=size),
            predict=lambda model, batches: None,
        ),
    }
    for name, value in patches.items():
        monkeypatch.setitem(names, name, value)
    for module, name, value in (
        (training, "make_optimizer", make_optimizer),
        (training, "RunFolder", Run),
        (training, "Checkpointing", checkpointing),
        (training, "timed_input", lambda batches: (batches, None)),
        (training, "trim_csv", lambda *_: None),
        (training, "EpochLog", lambda *_: None),
        (training, "ScalarEvents", lambda *_: None),
        (names["coco"], "load", load),
        (names["coco"], "Annotations", annotations),
        (names["scenes"], "write", lambda *a, **_: note("scenes", n=a[1])),
        (keras.optimizers, "Adam", adam),
        (keras.config, "set_dtype_policy", lambda x: note("policy", name=x)),
        (keras.utils, "set_random_seed", lambda x: note("random", seed=x)),
    ):
        monkeypatch.setattr(module, name, value)
    found_schedules = []
    make_schedule = training.make_schedule

    def schedule(recipe, steps):
        found_schedules.append(recipe)
        return make_schedule(recipe, steps)

    monkeypatch.setattr(training, "make_schedule", schedule)

    def run(*options, recipe=None):
        arguments = ["--output", str(tmp_path / "run"), *map(str, options)]
        monkeypatch.setattr(sys, "argv", ["train_coco.py", *arguments])
        args = script["parse_args"]()
        if recipe is not None:
            monkeypatch.setitem(names, "choose_recipe", lambda args: recipe)
        watch = types.SimpleNamespace(watch=lambda: None)
        script["train"](args, watch)
        found["schedule"] = found_schedules[0]
        return found

    run.script = script
    return run


def test_every_field_of_the_recipe_is_in_the_table():
    fields = {field.name for field in dataclasses.fields(training.CocoRecipe)}
    assert set(FIELDS) == fields - set(UNUSED)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_reaches_what_it_is_for(name, dry_run):
    value, place, key = FIELDS[name]
    # SGD takes all; `adam` has a test below.
    base = dataclasses.replace(
        dry_run.script["SCENES"], optimizer="sgd", detector="faster_rcnn"
    )
    if name == "library":
        base = dataclasses.replace(base, detector="retinanet")
    if name == "optimizer":
        base = dataclasses.replace(base, optimizer="adam")
    recipe = dataclasses.replace(base, **{name: value})
    found = dry_run(recipe=recipe)[place][key]
    if name in ("image_size", "longer_side"):
        assert found == (recipe.image_size, recipe.longer_side)
        assert value in found
    else:
        assert found == value
        assert value != getattr(base, name)


def test_the_seed_reaches_weights_data_and_samples(dry_run):
    recipe = dataclasses.replace(
        dry_run.script["SCENES"], seed=5, detector="faster_rcnn"
    )
    found = dry_run(recipe=recipe)
    assert found["random"] == {"seed": 5} and found["seeds"] == {5}
    assert found["detector"]["seed"] == 5


def test_adam_takes_the_schedule_and_the_norm(dry_run):
    recipe = dataclasses.replace(dry_run.script["SCENES"], clipnorm=3.0)
    found = dry_run(recipe=recipe)
    assert found["optimizer"] == {"name": "adam", "clipnorm": 3.0}
    assert found["schedule"] is recipe


def test_batches_are_checked_before_anything_is_written(dry_run):
    assert dry_run("--batch-size", 6)["checked"] == {"size": 6}


@pytest.mark.parametrize("name", ["weights", "checkpoint_steps", "scenes"])
def test_an_option_reaches_what_it_is_for(name, dry_run):
    value = {"weights": "FILE"}.get(name, 17)
    found = dry_run(f"--{name.replace('_', '-')}", value)
    place, key = {
        "weights": ("backbone", "weights"),
        "checkpoint_steps": ("checkpoints", "steps"),
        "scenes": ("scenes", "n"),
    }[name]
    assert found[place][key] == value


def test_output_is_the_folder_of_the_run(dry_run, tmp_path):
    found = dry_run()
    assert found["run"]["path"] == str(tmp_path / "run")
    assert found["saved"] == f"{tmp_path}/run/model.keras"


def test_data_has_the_paper_s_recipe(dry_run):
    found = dry_run("--data", "COCO", "--batch-size", "16")
    assert found["annotations"]["file"].startswith("COCO/annotations/")
    assert found["load"]["image_size"] == (800, 1333)
    assert "paper" in found and "scenes" not in found


@pytest.mark.parametrize(
    "field",
    [
        field.name
        for field in dataclasses.fields(training.CocoRecipe)
        if field.type in (int, float, str) and field.name not in UNUSED
    ],
)
def test_fields_have_options(field, dry_run, monkeypatch):
    value = FIELDS[field][0]
    option = f"--{field.replace('_', '-')}"
    arguments = ["train_coco.py", option, str(value)]
    if field == "longer_side":
        arguments += ["--image-size", "64"]
    monkeypatch.setattr(sys, "argv", arguments)
    args = dry_run.script["parse_args"]()
    recipe = dry_run.script["choose_recipe"](args)
    assert getattr(recipe, field) == value


def test_every_other_option_has_a_test(dry_run, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_coco.py"])
    fields = {field.name for field in dataclasses.fields(training.CocoRecipe)}
    assert set(vars(dry_run.script["parse_args"]())) - fields == OPTIONS
