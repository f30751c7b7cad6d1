"""Each field of the recipe and each option reaches its use."""

import dataclasses
import functools
import importlib.util
import os
import types

import keras
import numpy as np
import pytest
from recipe_options import RECIPE_OPTIONS
from seen_training import SeenTraining

from keras_epsanet import EPSANet, detection, training
from keras_epsanet.commands import train_coco
from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import (
    demo,
    drawing,
    from_recipe,
    starting,
    trained_detectors,
)
from keras_epsanet.training.early_end import EndEarly

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

NUM_TRAIN = 960

# What is given on the command line, and the value of the field.
OPTIONS = {
    **RECIPE_OPTIONS,
    "model": ("--model epsanet101_large", "epsanet101_large"),
    "image_size": ("--image-size 320", 320),
    "batch_size": ("--batch-size 24", 24),
    "warm_up_steps": ("--warm-up-steps 3", 3),
    "detector": ("--detector mask_rcnn", "mask_rcnn"),
    "num_samples": ("--num-samples 8", 8),
    "sampling_ratio": ("--sampling-ratio 0", 0),
    "longer_side": ("--longer-side 400", 400),
    "freeze_stages": ("--freeze-stages 3", 3),
    "norm_eval": ("--no-norm-eval", False),
    "least_image_size": ("--least-image-size 300", 300),
    "crop": ("--crop", True),
    "photometric": ("--photometric", True),
    "val_share": ("--val-share 0.5", 0.5),
    "evaluate_every": ("--evaluate-every 4", 4),
    "patience": ("--patience 5", 5),
    # These with RetinaNet.
    "optimizer": ("--optimizer adam", "adam"),
    "head_initializer": ("--head-initializer he_normal", "he_normal"),
    "warm_up_epochs": ("--warm-up-epochs 0.5", 0.5),
    "freeze": ("--inherit resnext --freeze", True),
}
WITH_RETINANET = ("optimizer", "head_initializer", "warm_up_epochs", "freeze")
# And these with a RetinaNet of a library.
LIBRARY = {"library": ("--library keras_hub", "keras_hub")}
OPTIONS |= LIBRARY


# Where the fields arrive: functions of what was seen, which give the field.
USES = {
    "model": [lambda s: s.variant],
    "image_size": [
        lambda s: s.training["image_size"][0],
        lambda s: s.evaluation["image_size"][0],
    ],
    "longer_side": [
        lambda s: s.training["image_size"][1],
        lambda s: s.evaluation["image_size"][1],
    ],
    "epochs": [lambda s: s.fit["epochs"], lambda s: s.schedule("epochs")],
    "batch_size": [
        lambda s: s.training["batch_size"] * s.parts,
        lambda s: s.evaluation["batch_size"] * s.parts,
        lambda s: s.callbacks(training.EpochLog)[0].batch_size * s.parts,
        lambda s: NUM_TRAIN // s.fit["steps_per_epoch"] * s.parts,
        lambda s: NUM_TRAIN // s.schedule("steps_per_epoch") * s.parts,
    ],
    "accumulation_steps": [
        lambda s: s.optimizer.gradient_accumulation_steps or 1
    ],
    "learning_rate": [lambda s: s.schedule("peak") * 16 / s.batch_size],
    "schedule": [lambda s: s.schedule("kind")],
    "decay_epochs": [lambda s: s.schedule("decay_epochs")],
    "decay_factor": [lambda s: s.schedule("decay_factor")],
    "warm_up_epochs": [lambda s: s.schedule("warm_up_epochs")],
    "warm_up_steps": [
        lambda s: round(
            s.schedule("warm_up_epochs")
            * s.schedule("steps_per_epoch")
            / s.parts
        )
    ],
    "head_initializer": [lambda s: s.heads.get("head_initializer")],
    "momentum": [lambda s: s.optimizer.momentum],
    "nesterov": [lambda s: s.optimizer.nesterov],
    "l2": [lambda s: s.optimizer.l2],
    "l2_on_all": [
        lambda s: (
            s.optimizer.get_config()["l2_exclusions"]["names"]
            != ["bias", "gamma", "beta"]
        )
    ],
    "clipnorm": [lambda s: s.optimizer.global_clipnorm],
    "backbone_rate": [
        lambda s: dict(s.optimizer.get_config()["scaled_rates"]).get("backbone")
    ],
    "freeze": [lambda s: s.backbone["freeze_stages"] == 4],
    "ema": [
        lambda s: next(
            (c.decay for c in s.callbacks(training.WeightAverage)), None
        ),
        lambda s: getattr(
            s.callbacks(training.Checkpointing)[0].average, "decay", None
        ),
    ],
    "precision": [
        lambda s: s.policy,
        lambda s: (
            "mixed_float16"
            if isinstance(s.trained.optimizer, training.LossScale)
            else "float32"
        ),
    ],
    "sync_bn": [lambda s: s.backbone["synchronized"]],
    "seed": [
        lambda s: s.seed,
        lambda s: s.training["seed"],
        lambda s: s.heads.get("seed"),
        lambda s: s.opened[3],
    ],
    "detector": [
        lambda s: s.made,
        lambda s: "mask_rcnn" if s.training["masks"] else "retinanet",
        lambda s: "mask_rcnn" if "segm" in s.evaluated else "retinanet",
    ],
    "num_samples": [lambda s: s.heads.get("num_samples")],
    "sampling_ratio": [lambda s: s.heads.get("sampling_ratio")],
    "freeze_stages": [lambda s: s.backbone["freeze_stages"]],
    "norm_eval": [lambda s: s.backbone["norm_eval"]],
    "library": [
        lambda s: s.made,
        lambda s: (
            "keras_hub" if s.adapted is coco.to_keras_hub else "keras_epsanet"
        ),
    ],
    **{
        name: [
            lambda s, name=name: getattr(s.training["augmentation"], name, None)
        ]
        for name in ("least_image_size", "crop", "photometric")
    },
    "val_share": [lambda s: s.opened[2]],
    "evaluate_every": [lambda s: s.evaluator["every"]],
    "patience": [lambda s: s.callbacks(EndEarly)[0].recipe.patience],
    "optimizer": [
        lambda s: (
            "adam" if isinstance(s.optimizer, training.ScaledAdam) else "sgd"
        ),
    ],
}


def run(monkeypatch, output, *arguments, number=NUM_TRAIN):
    """Trains up to the end with data and steps that cost nothing."""
    seen = SeenTraining(adapted=None, deterministic=False)
    monkeypatch.setattr(
        tf.config.experimental,
        "enable_op_determinism",
        lambda: setattr(seen, "deterministic", True),
    )

    def from_variant(name, **options):
        seen.variant, seen.backbone = name, options

    def make_detector(name):
        def make(backbone, num_classes, **options):
            seen.made, seen.heads = name, options
            return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

        return make

    def load(annotations, batch_size, **options):
        name = "training" if options["training"] else "evaluation"
        setattr(seen, name, {"batch_size": batch_size, **options})
        return tf.data.Dataset.from_tensors({"images": np.zeros((1, 2))})

    def write(folder, num_train, num_val, image_size):
        seen.scenes = num_train
        images[:] = num_train * [image]

    def evaluator(batches, annotations, iou_types, **options):
        seen.evaluated, seen.evaluator = iou_types, options
        return keras.callbacks.Callback()

    def fit(model, batches, **options):
        seen.trained, seen.fit = model, options
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = seen.callbacks(training.Checkpointing)[0].state
        state.step = options["epochs"] * state.steps_per_epoch

    def adapt(name):
        def note(batch):
            seen.adapted = getattr(coco, name)
            return batch

        return note

    for name in ("to_keras_cv", "to_keras_hub"):
        monkeypatch.setattr(coco, name, adapt(name))
    for name, maker in (
        ("retinanet", "RetinaNet"),
        ("faster_rcnn", "FasterRCNN"),
        ("mask_rcnn", "MaskRCNN"),
    ):
        monkeypatch.setattr(from_recipe, maker, make_detector(name))
    for name in ("keras_cv", "keras_hub"):
        maker = f"{name}_retinanet"
        monkeypatch.setattr(from_recipe, maker, make_detector(name))
    backbone = types.SimpleNamespace(from_variant=from_variant)
    for kind in ("EPSANetBackbone", "ResNetBackbone"):
        monkeypatch.setattr(from_recipe, kind, backbone)
    variable = types.SimpleNamespace(path="backbone", name="backbone")
    backbone = types.SimpleNamespace(trainable_variables=[variable])
    monkeypatch.setattr(from_recipe, "find_backbone", lambda model: backbone)
    monkeypatch.setattr(
        starting,
        "_inherit",
        lambda model, source, *_: setattr(seen, "inherit", source) or source,
    )
    image = types.SimpleNamespace(labels=[0], height=192)
    images = number * [image]
    annotations = types.SimpleNamespace(
        images=images,
        images_with_masks=images,
        bad=[],
        class_names=["a", "b"],
        path=__file__,
    )

    def open_annotations(*arguments):
        seen.opened = arguments
        return dict.fromkeys(("train", "val"), annotations)

    for module in (train_coco.sources, demo):
        monkeypatch.setattr(module, "open_annotations", open_annotations)
    monkeypatch.setattr(coco, "load", load)
    monkeypatch.setattr(scenes, "write", write)
    monkeypatch.setattr(from_recipe, "CocoEvaluator", evaluator)
    monkeypatch.setattr(drawing, "draw_beside", lambda *a, **k: None)
    monkeypatch.setattr(keras.Model, "fit", fit)
    for module, name, attribute in (
        (keras.utils, "set_random_seed", "seed"),
        (keras.config, "set_dtype_policy", "policy"),
    ):
        note = functools.partial(setattr, seen, attribute)
        monkeypatch.setattr(module, name, note)
    args = train_coco.parse(["--output", str(output), *arguments])
    seen.options = set(vars(args))
    recipe = train_coco.choose_recipe(args)
    seen.parts, seen.batch_size = recipe.accumulation_steps, recipe.batch_size
    train_coco.train(args)
    return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What is seen of three trainings: by the defaults, and of others."""

    def options(names):
        return " ".join(OPTIONS[name][0] for name in names).split()

    others = OPTIONS.keys() - {*WITH_RETINANET, *LIBRARY}
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield [
            run(
                monkeypatch,
                tmp_path_factory.mktemp("run"),
                *("--data", "COCO"),
                *arguments,
            )
            for arguments in map(options, ([], others, WITH_RETINANET, LIBRARY))
        ]


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(training.CocoRecipe)]
)
def test_every_field_reaches_its_uses(runs, field):
    _, expected = OPTIONS[field]
    default, changed, retinanet, library = runs
    if field in WITH_RETINANET:
        changed = retinanet
    if field in LIBRARY:
        changed = library
    assert getattr(training.COCO, field) != expected
    for use in USES[field]:
        assert use(changed) == expected
        assert use(default) != expected


# The options that are no fields: where they arrive.
OTHERS = {
    "data": lambda s: s.opened[0],
    "weights": lambda s: s.backbone["weights"],
    "output": lambda s: s.callbacks(training.Checkpointing)[0].run.path,
    "scenes": lambda s: s.scenes,
    "checkpoint_steps": lambda s: (
        s.callbacks(training.Checkpointing)[0].interval
    ),
    "deterministic": lambda s: s.deterministic,
}


def test_every_other_option_reaches_its_use(monkeypatch, tmp_path):
    weights = tmp_path / "weights.keras"
    weights.touch()
    arguments = f"--weights {weights} --scenes 17 --checkpoint-steps 19"
    arguments += " --deterministic"
    seen = run(monkeypatch, tmp_path / "run", *arguments.split())
    expected = {
        "data": f"{tmp_path}/run/scenes",
        "weights": str(weights),
        "output": f"{tmp_path}/run",
        "scenes": 17,
        "checkpoint_steps": 19,
        "deterministic": True,
    }
    assert {name: use(seen) for name, use in OTHERS.items()} == expected
    fields = {f.name for f in dataclasses.fields(training.CocoRecipe)}
    # Of `--weights` and `--inherit` only one can be given.
    assert seen.options - fields == {*OTHERS, "inherit"}


def test_a_training_that_goes_on_does_not_inherit(monkeypatch, tmp_path):
    arguments = ("--data", "COCO", "--warm-up-steps", "3", "--inherit")
    seen = run(monkeypatch, tmp_path, *arguments, "resnet50.tv2")
    assert seen.inherit == "resnet50.tv2"
    note = (tmp_path / "initialized_from.txt").read_text()
    assert note == "resnet50.tv2\nresnet50.tv2\n"
    with monkeypatch.context() as patch:
        patch.setattr(training, "has_checkpoints", lambda path: True)
        seen = run(patch, tmp_path, *arguments, "gone.pth")
    assert not hasattr(seen, "inherit")
    with pytest.raises(ValueError, match="started from resnet50.tv2 and has"):
        run(monkeypatch, tmp_path, *arguments[:-1])
    with pytest.raises(ValueError, match="needs --weights or --inherit"):
        run(monkeypatch, tmp_path / "other", *arguments[:-1], "--freeze")
    with pytest.raises(ValueError, match="There is no file gone.pth"):
        run(monkeypatch, tmp_path / "other", *arguments, "gone.pth")


TRAINED = "mask_rcnn_resnet50_fpn_1x_coco"


@pytest.fixture
def downloaded(monkeypatch):
    """What is read, and loaded into detectors, in place of public files."""
    seen = []

    def read(family, source):
        seen.append((family, source))
        return source

    monkeypatch.setattr(trained_detectors, "read_detector", read)
    monkeypatch.setattr(
        starting, "load_checkpoint", lambda model, x: seen.append(x)
    )
    return seen


def test_a_detector_of_mmdetection_is_trained_further(
    monkeypatch, tmp_path, downloaded
):
    arguments = ("--data", "MY", "--warm-up-steps", "3", "--weights", TRAINED)
    seen = run(monkeypatch, tmp_path, *arguments)
    assert seen.made == "mask_rcnn" and seen.variant == "resnet50"
    assert seen.backbone["weights"] is None
    assert seen.heads["sampling_ratio"] == 0
    assert seen.heads["class_names"] == ["a", "b"]
    # Once before work starts, once into the detector.
    assert downloaded == [*2 * [("mask_rcnn", TRAINED)], TRAINED]
    downloaded.clear()
    # It says what it began as, and does not begin as another.
    note = (tmp_path / "initialized_from.txt").read_text().splitlines()
    assert note[0] == TRAINED
    with pytest.raises(ValueError, match=f"Give --weights {TRAINED} again"):
        run(monkeypatch, tmp_path, *arguments[:-2])
    with monkeypatch.context() as patch:
        patch.setattr(training, "has_checkpoints", lambda path: True)
        run(patch, tmp_path, *arguments)
    assert downloaded == []


@pytest.mark.parametrize(
    "options, message",
    [
        ("--detector retinanet", "detector=mask_rcnn.*--detector retinanet"),
        ("--model epsanet50_small", "model=resnet50.*--model epsanet50_small"),
    ],
)
def test_another_detector_than_that_of_the_weights_is_refused(
    options, message, tmp_path, downloaded
):
    output = tmp_path / "run"
    arguments = ["--weights", TRAINED, "--output", str(output)]
    with pytest.raises(SystemExit, match=message):
        train_coco.main([*arguments, *options.split()])
    assert not downloaded and not output.exists()


def test_a_name_that_there_is_not_is_refused_at_once(tmp_path, downloaded):
    output = tmp_path / "run"
    with pytest.raises(SystemExit, match="--weights mask_rcnn_resnet5: .*Sim"):
        train_coco.main(
            ["--weights", "mask_rcnn_resnet5", "--output", str(output)]
        )
    assert not downloaded and not output.exists()


def test_a_download_that_fails_leaves_no_folder(monkeypatch, tmp_path):
    def fail(family, source):
        raise OSError("no network")

    monkeypatch.setattr(trained_detectors, "read_detector", fail)
    output = tmp_path / "run"
    with pytest.raises(SystemExit, match=f"--weights {TRAINED}: no network"):
        train_coco.main(["--weights", TRAINED, "--output", str(output)])
    assert not output.exists()


def test_a_resnet_does_not_inherit(tmp_path):
    options = ["--model", "resnet50", "--inherit", "resnet50.tv2"]
    with pytest.raises(SystemExit, match="a ResNet is loaded by --weights"):
        train_coco.main([*options, "--output", str(tmp_path / "run")])


def test_a_resnet_that_does_not_fit_leaves_no_folder(tmp_path):
    resnet = EPSANet((1,), (16,), (3,), (1,), reduction=4, classes=10)
    resnet.save(tmp_path / "resnet.keras")
    arguments = ["--scenes", "2", "--output", str(tmp_path / "run")]
    arguments += ["--inherit", str(tmp_path / "resnet.keras")]
    with pytest.raises(SystemExit, match="^mine: --inherit .* does not fit"):
        train_coco.main(arguments, "mine")
    assert not (tmp_path / "run").exists()


def test_data_are_read_from_the_folder_given(runs):
    path, folder, share, seed = runs[0].opened
    assert path == "COCO" and os.path.isfile(f"{folder}/recipe.json")
    assert share == training.COCO.val_share and seed == training.COCO.seed


@pytest.mark.parametrize(
    "detector, number, used",
    [
        ("retinanet", 2, ", of which 2 with objects are used"),
        ("mask_rcnn", 1, ", of which 1 with masks are used"),
        ("retinanet", 3, ""),
    ],
)
def test_the_start_says_how_many_images_are_learned_from(
    detector, number, used, capsys
):
    images = [types.SimpleNamespace(labels=[1] * (i < number)) for i in (0, 1)]
    images.append(types.SimpleNamespace(labels=[1] * (number == 3)))
    part = types.SimpleNamespace(
        images=images, images_with_masks=images[:number]
    )
    recipe = training.CocoRecipe(detector=detector)
    state = training.State(step=0, steps_per_epoch=1)
    strategy = types.SimpleNamespace(num_replicas_in_sync=1)
    parts = {"train": part, "val": part}
    train_coco.report_start(recipe, strategy, parts, state)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith(f": 3 images to train{used}, 3 to evaluate")


def test_few_images_are_trained_without_an_option_more(
    monkeypatch, tmp_path, capsys
):
    arguments = ("--data", "MY", "--output", str(tmp_path))
    seen = run(monkeypatch, tmp_path, *arguments, number=50)
    assert seen.training["batch_size"] == 4 and seen.fit["epochs"] == 42
    fitted = "Fitted to 50 images with objects: epochs: 42, not 12"
    assert fitted in capsys.readouterr().out
    # What goes on has the recipe of its folder, and may be given some anew.
    options = ("--patience", "3", "--evaluate-every", "2")
    seen = run(monkeypatch, tmp_path, *arguments, *options, number=50)
    assert seen.training["batch_size"] == 4 and seen.fit["epochs"] == 42
    assert seen.evaluator["every"] == 2 and seen.evaluator["last"] == 42
    assert "Fitted" not in capsys.readouterr().out
    # What is given stays.
    options = ("--batch-size", "8", "--epochs", "3", "--warm-up-steps", "2")
    seen = run(monkeypatch, tmp_path / "b", *arguments[:2], *options, number=50)
    assert seen.training["batch_size"] == 8 and seen.fit["epochs"] == 3


@pytest.mark.parametrize("name", ["pycocotools", "matplotlib"])
def test_a_missing_package_is_named_before_work_starts(
    name, tmp_path, monkeypatch
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda x, *args: None if x == name else find_spec(x, *args),
    )
    output = tmp_path / "run"
    with pytest.raises(SystemExit) as error:
        train_coco.main(["--output", str(output)])
    assert name in str(error.value) and "pip install" in str(error.value)
    assert not output.exists()


def test_a_weights_file_that_is_not_there_is_named_at_once(tmp_path):
    options = ["--weights", f"{tmp_path}/none", "--output", f"{tmp_path}/run"]
    message = f"^mine: .*Received: --weights {tmp_path}/none"
    with pytest.raises(SystemExit, match=message):
        train_coco.main(options, "mine")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--data A --scenes 3", "--scenes are composed without --data only"),
        ("--scenes 0", "`scenes` must be a positive integer"),
        ("--model tiny", "invalid choice"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        train_coco.parse(arguments.split())
    assert message in capsys.readouterr().err


def test_a_longer_training_says_what_happens_to_the_rate(
    monkeypatch, tmp_path, capsys
):
    short = ("--data", "COCO", "--warm-up-steps", "9", "--epochs")
    run(monkeypatch, tmp_path, *short, "2")
    assert "instead of" not in capsys.readouterr().out
    run(monkeypatch, tmp_path, *short, "3")
    text = capsys.readouterr().out
    assert "3 epochs instead of 2: from here" in text


@pytest.mark.parametrize("library", ["keras_epsanet", "keras_hub"])
def test_the_end_says_how_to_try_it(library, monkeypatch, tmp_path, capsys):
    arguments = ("--data", "COCO", "--library", library)
    run(monkeypatch, tmp_path, *arguments)
    hint = f"To try it: keras-epsanet detect --run {tmp_path} IMAGE...\n"
    # Which loads this package's detectors alone.
    assert capsys.readouterr().out.endswith(hint) == (
        library == "keras_epsanet"
    )


def test_the_help_tells_of_the_scenes_to_evaluate_with(capsys):
    with pytest.raises(SystemExit):
        train_coco.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "as many, but at most 200, are composed to evaluate with" in text


def test_a_signal_in_the_last_epoch_ends_with_a_line(
    monkeypatch, tmp_path, capsys
):
    def fit(
        model, average, strategy, annotations, folder, state, evaluator, *others
    ):
        state.step = 240
        others[0]._request(15, None)

    monkeypatch.setattr(train_coco.fitting, "fit", fit)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, tmp_path, "--scenes", str(NUM_TRAIN), "--epochs", "1")
    assert error.value.code == 75
    assert "train_coco: stopped after step 240 of 240. The same" in (
        capsys.readouterr().err
    )


def test_a_finished_training_saves_its_average_again(monkeypatch, tmp_path):
    """Its checkpoint brings back the weights of the training."""
    saved = []

    def fit(model, average, *others):
        assert not average.is_in_place
        for variable in average.variables[: len(model.weights)]:
            variable.assign(tf.fill(variable.shape, 2.0))

    def finish(model, *others):
        saved.extend(model.get_weights())

    monkeypatch.setattr(train_coco.fitting, "fit", fit)
    monkeypatch.setattr(train_coco.finishing, "finish", finish)
    run(monkeypatch, tmp_path, "--data", "COCO", "--ema", "0.75")
    assert len(saved) == 2 and all((array == 2).all() for array in saved)


@pytest.mark.parametrize(
    "name, value",
    [
        ("SLURM_STEP_NUM_TASKS", "2"),
        ("KERAS_DISTRIBUTION_NUM_PROCESSES", "2"),
    ],
)
def test_several_processes_of_jax_are_refused(name, value, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv(name, value)
    args = train_coco.parse(["--output", "unused"])
    with pytest.raises(ValueError, match=f"A detector .*Received: {name}="):
        train_coco.check_machine(args)


def test_a_folder_goes_on_with_its_own_data_alone(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path, "--data", "COCO")
    noted = tmp_path / "data.json"
    text = noted.read_text()
    assert '"a"' in text
    noted.write_text(text.replace('"a"', '"c"'))
    with pytest.raises(ValueError, match="other data.*'a', 'b'.*'c', 'b'"):
        run(monkeypatch, tmp_path, "--data", "COCO")


def test_the_defaults_of_what_is_no_field():
    args = train_coco.parse([])
    assert args.output == "runs/detector" and args.checkpoint_steps == 1000


@pytest.mark.parametrize(
    "options, batch_size, initializer",
    [
        ("", 4, "he_normal"),
        ("--detector mask_rcnn", 2, None),
        ("--library keras_hub", 4, None),
        ("--data COCO", 16, None),
        (f"--weights {TRAINED}", 2, None),
    ],
)
def test_scenes_have_the_recipe_of_their_detector(
    options, batch_size, initializer, tmp_path
):
    options = [*options.split(), "--output", str(tmp_path)]
    recipe = train_coco.choose_recipe(train_coco.parse(options))
    assert recipe.batch_size == batch_size
    assert recipe.head_initializer == initializer


@pytest.mark.parametrize(
    "detector, number", [("mask_rcnn", 40), ("faster_rcnn", 50)]
)
def test_images_are_counted_that_the_detector_learns_from(
    detector, number, tmp_path, monkeypatch
):
    image = types.SimpleNamespace(labels=[0])
    annotations = types.SimpleNamespace(
        images=50 * [image], images_with_masks=40 * [image]
    )
    seen = []

    def fit_to_images(recipe, *others):
        seen.append(others)
        return recipe

    monkeypatch.setattr(train_coco.few_images, "fit_to_images", fit_to_images)
    args = train_coco.parse(["--data", "MY", "--output", str(tmp_path)])
    recipe = dataclasses.replace(training.COCO, detector=detector)
    train_coco.fit_recipe(args, recipe, annotations, None)
    assert seen == [(args, number, 1)]


def test_epochs_are_evaluated_beside_the_paper(monkeypatch, tmp_path):
    monkeypatch.setattr(from_recipe, "CocoEvaluator", lambda *x, **y: (x, y))
    names = coco.class_names.COCO_CLASSES
    annotations = types.SimpleNamespace(class_names=names)
    recipe = dataclasses.replace(
        training.COCO, detector="mask_rcnn", evaluate_every=3
    )
    folder = types.SimpleNamespace(path=str(tmp_path), recipe=recipe)
    given, options = from_recipe.make_evaluator(folder, "batches", annotations)
    assert given == ("batches", annotations)
    assert options == {
        "iou_types": ("bbox", "segm"),
        "path": f"{tmp_path}/results.json",
        "beside": detection.paper_rows("mask_rcnn", recipe.model),
        "every": 3,
        "last": 12,
    }


def test_it_says_how_many_images_there_are(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "--data", "COCO", "--warm-up-steps", "9")
    text = capsys.readouterr().out
    assert "960 images to train, 960 to evaluate" in text
    assert f"retinanet on {training.COCO.model}" in text


def test_batches_that_devices_do_not_divide_are_refused(monkeypatch, tmp_path):
    seen = []

    def check(batch_size, strategy):
        seen.append(batch_size)
        raise ValueError("not divided")

    monkeypatch.setattr(train_coco.distribution, "check_batch_size", check)
    options = ("--data", "COCO", "--batch-size", "24")
    options += ("--accumulation-steps", "2")
    with pytest.raises(ValueError, match="not divided"):
        run(monkeypatch, tmp_path / "run", *options)
    assert seen == [12] and not (tmp_path / "run").exists()
