import argparse
import csv
import json
import types
import zipfile

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, training
from keras_epsanet.classification import (
    agreement,
    batches,
    fitting,
    models,
    run_folder,
    sources,
    starting,
)
from keras_epsanet.commands import train
from keras_epsanet.training import ClassifierRecipe, State, make_average
from keras_epsanet.training.early_end import is_finished

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)


READ_TEACHER = models.distillation.read_teacher


def smallest(**kwargs):
    return EPSANet((1,), (16,), (3, 5), (1, 4), reduction=4, **kwargs)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    for name in models.MODELS:
        monkeypatch.setitem(models.MODELS, name, smallest)
    monkeypatch.setattr(
        models.distillation,
        "read_teacher",
        lambda source, student, names: keras.models.clone_model(student),
    )


def make_dataset(number):
    import tensorflow as tf

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (number, 32, 32, 3), "uint8")
    dataset = tf.data.Dataset.from_tensor_slices(
        (images, np.arange(number) % 3)
    )
    dataset.class_names = ["blue", "green", "red"]
    dataset.num_images = number
    return dataset


def choose(folder, *arguments):
    """The recipe of a command line for a new folder."""
    args = train.parse([*arguments, "--output", str(folder / "new")])
    return run_folder.choose_recipe(
        args.output, args, fine_tuning=args.weights is not None
    )


def classifier(recipe):
    return models.build_classifier(recipe, ["blue", "green", "red"])


def part(recipe):
    return models.compile_trained_part(classifier(recipe), recipe, 10)


def schedule(recipe):
    config = part(recipe).optimizer.get_config()["learning_rate"]["config"]
    return types.SimpleNamespace(**config)


def first_batch(recipe):
    return next(iter(batches.training_batches(make_dataset(70), recipe)))


def norms(recipe):
    return [x for x in classifier(recipe).layers if x.name.endswith("_bn")]


# Of every field of the recipe: the options, where it must arrive, as what.
FIELDS = {
    "image_size": ("--image-size 40", lambda r: first_batch(r)[0].shape[1], 40),
    "epochs": ("--epochs 7", lambda r: schedule(r).epochs, 7),
    "batch_size": ("--batch-size 6", lambda r: len(first_batch(r)[0]), 6),
    "accumulation_steps": (
        "--accumulation-steps 2",
        lambda r: part(r).optimizer.gradient_accumulation_steps,
        2,
    ),
    "learning_rate": ("--learning-rate 0.5", lambda r: schedule(r).peak, 0.5),
    "schedule": ("--schedule step", lambda r: schedule(r).kind, "step"),
    "decay_epochs": (
        "--decay-epochs 3,5",
        lambda r: schedule(r).decay_epochs,
        (3, 5),
    ),
    "decay_factor": (
        "--decay-factor 0.5",
        lambda r: schedule(r).decay_factor,
        0.5,
    ),
    "warm_up_epochs": (
        "--warm-up-epochs 1",
        lambda r: schedule(r).warm_up_epochs,
        1,
    ),
    "momentum": ("--momentum 0.5", lambda r: part(r).optimizer.momentum, 0.5),
    "nesterov": (
        "--no-nesterov",
        lambda r: part(r).optimizer.nesterov,
        False,
    ),
    "l2": ("--l2 0.01", lambda r: part(r).optimizer.l2, 0.01),
    "l2_on_all": (
        "--no-l2-on-all",
        lambda r: part(r).optimizer.get_config()["l2_exclusions"]["names"],
        ["bias", "gamma", "beta"],
    ),
    "clipnorm": (
        "--clipnorm 3",
        lambda r: part(r).optimizer.global_clipnorm,
        3,
    ),
    "ema": (
        "--ema 0.5",
        lambda r: getattr(make_average(part(r), r), "decay", None),
        0.5,
    ),
    "precision": (
        "--precision mixed_bfloat16",
        lambda r: norms(r)[0].compute_dtype,
        "bfloat16",
    ),
    "sync_bn": (
        "--sync-bn",
        lambda r: {x.synchronized for x in norms(r)},
        {True},
    ),
    "seed": (
        "--seed 3",
        lambda r: int(first_batch(r)[0][0, 0, 0, 0]),
        int(first_batch(ClassifierRecipe(seed=3))[0][0, 0, 0, 0]),
    ),
    "label_smoothing": (
        "--label-smoothing 0.3",
        lambda r: part(r).loss.label_smoothing,
        0.3,
    ),
    "flip": (
        "--flip",
        lambda r: bool(
            (first_batch(r)[0] == first_batch(ClassifierRecipe())[0])
            .numpy()
            .all()
        ),
        False,
    ),
    "augmentations": (
        "--augmentations mix_up",
        lambda r: bool((first_batch(r)[1].numpy().max(axis=1) < 1).any()),
        True,
    ),
    "backbone_rate": (
        "--backbone-rate 0.5",
        lambda r: dict(part(r).optimizer.get_config()["scaled_rates"]).get(
            "conv1_conv/kernel"
        ),
        0.5,
    ),
    "recalibration_steps": (
        "--recalibration-steps 3",
        lambda r: r.recalibration_steps,
        3,
    ),
    "teacher": (
        "--teacher TEACHER",
        lambda r: isinstance(part(r), keras.distillation.Distiller),
        True,
    ),
    "teacher_share": (
        "--teacher-share 0.75 --teacher TEACHER",
        lambda r: getattr(part(r), "student_loss_weight", 1),
        0.25,
    ),
    "temperature": (
        "--temperature 2 --teacher TEACHER",
        lambda r: (
            part(r).distillation_losses[0].temperature if r.teacher else None
        ),
        2,
    ),
    "freeze": (
        "--freeze --weights none.keras",
        lambda r: len(part(r).trainable_weights),
        2,
    ),
    "patience": (
        "--patience 1",
        lambda r: is_finished(r, State(step=1, steps_per_epoch=1, best_step=0)),
        True,
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field_of_the_recipe_arrives(name, tmp_path):
    options, observe, expected = FIELDS[name]
    recipe = choose(tmp_path, *options.split())
    assert getattr(recipe, name) != getattr(choose(tmp_path), name)
    assert observe(recipe) == expected
    assert observe(choose(tmp_path)) != expected


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What a run does, without training, in a folder of its own."""
    calls = types.SimpleNamespace(averages=[])
    monkeypatch.chdir(tmp_path)

    def open_images(*arguments):
        calls.images = arguments
        return sources.Images(make_dataset(9), make_dataset(3), "noise")

    def build(recipe, names, weights=None):
        calls.weights = weights
        calls.classifier = build_classifier(recipe, names)
        return calls.classifier

    def fit(model, average, dataset, evaluation, run, state, *others):
        interruption, steps = others
        calls.fitted = run.path, steps
        calls.averages.append(average)
        state.step = state.best_step = run.recipe.epochs * 9
        state.best_value = 0.5

    def keep_start(model, average, run, state, evaluation):
        calls.kept = True
        calls.averages.append(average)
        state.best_step, state.best_value = 0, 0.5

    def restore_best(model, average, run, state):
        calls.averages.append(average)

    build_classifier = models.build_classifier
    monkeypatch.setattr(models, "build_classifier", build)
    monkeypatch.setattr(sources, "open_images", open_images)
    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(fitting, "keep_start", keep_start)
    monkeypatch.setattr(fitting, "restore_best", restore_best)
    monkeypatch.setattr(train.finishing, "finish", lambda *arguments: None)
    return calls


def run(arguments):
    train.main([*arguments.split(), *"--model tiny --image-size 32".split()])


def initial(calls):
    return float(np.sum(calls.classifier.get_layer("conv1_conv").kernel))


def test_data_tfds_and_share_open_the_images(calls):
    run("--data somewhere --val-share 0.4")
    assert calls.images == ("somewhere", None, 0.4)
    run("--tfds fruits --output other")
    assert calls.images == (None, "fruits", 0.2)


def test_output_is_the_run_folder_and_checkpoint_steps_arrive(calls, tmp_path):
    run("")
    assert calls.fitted == ("runs/classifier", 500)
    run("--output mine --checkpoint-steps 7")
    assert calls.fitted == ("mine", 7)
    assert (tmp_path / "mine" / "recipe.json").exists()


def test_few_images_have_smaller_batches_which_stay(calls, tmp_path, capsys):
    def batch_size(folder):
        text = (tmp_path / folder / "recipe.json").read_text()
        return json.loads(text)["batch_size"]

    run("--output mine")
    line = "Fitted to 9 images: batches of 8, not 64; --batch-size takes"
    assert line in capsys.readouterr().out and batch_size("mine") == 8
    run("--output mine")
    assert "Fitted" not in capsys.readouterr().out and batch_size("mine") == 8
    run("--output other --batch-size 64")
    assert "Fitted" not in capsys.readouterr().out and batch_size("other") == 64


def test_one_average_is_kept_restored_and_taken_in_the_end(calls):
    run("--weights file.keras --ema 0.75")
    start, fitted, best = calls.averages
    assert start is fitted is best and start.decay == 0.75
    run("--output other")
    assert calls.averages[3:] == [None, None]


def test_weights_are_where_a_new_training_starts(calls, tmp_path):
    run("--weights file.keras")
    assert calls.weights == "file.keras" and calls.kept
    del calls.kept
    (tmp_path / "runs/classifier/checkpoints/step-00000009").mkdir()
    calls.weights = "unread"
    with pytest.raises(SystemExit, match="No checkpoint"):
        run("--weights file.keras")
    assert calls.weights is None and not hasattr(calls, "kept")


def test_weights_that_are_not_read_are_named(calls, monkeypatch, capsys):
    monkeypatch.setattr(training, "has_checkpoints", lambda path: True)
    run("--weights file.keras")
    assert "--weights file.keras is not read" in capsys.readouterr().out
    monkeypatch.setattr(training, "has_checkpoints", lambda path: False)
    run("--weights file.keras --output other")
    assert "is not read" not in capsys.readouterr().out


def test_a_trained_start_is_one_option(calls, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        run("--weights file.keras --inherit resnext")
    assert "not allowed with" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="--weights or --inherit"):
        run("--freeze")
    monkeypatch.setattr(
        starting,
        "_inherit",
        lambda *arguments: calls.inherited.append(arguments[1]),
    )
    calls.inherited = []
    run("--inherit resnet50.tv2 --freeze")
    assert calls.inherited == ["resnet50.tv2"] and calls.kept
    monkeypatch.setattr(training, "has_checkpoints", lambda path: True)
    run("--inherit resnet50.tv2 --freeze")
    assert "--inherit resnet50.tv2 is not read" in capsys.readouterr().out
    run("")  # What is frozen stays so.
    assert len(calls.inherited) == 1


def test_a_training_goes_on_with_the_same_images_only(calls, monkeypatch):
    run("--epochs 1")
    others = sources.Images(make_dataset(8), make_dataset(3), "others")
    monkeypatch.setattr(sources, "open_images", lambda *_: others)
    del calls.fitted
    with pytest.raises(SystemExit, match="train: 8, not 9$"):
        run("--epochs 2")
    assert not hasattr(calls, "fitted")
    run("--epochs 1 --output other")


@pytest.mark.parametrize(
    "error",
    [FloatingPointError, ImportError, OSError, RuntimeError, ValueError],
)
def test_errors_end_with_a_line(error, monkeypatch):
    def fail(args, program):
        raise error("reason")

    monkeypatch.setattr(train, "run", fail)
    with pytest.raises(SystemExit, match="^mine: reason$"):
        train.main([], "mine")


def test_classes_must_be_as_many(calls):
    run("--classes 3")
    with pytest.raises(SystemExit, match="have 3 classes.*number=4"):
        run("--classes 4 --output other")


def test_deterministic_asks_tensorflow(calls, monkeypatch):
    import tensorflow as tf

    asked = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: asked.append(1)
    )
    run("")
    assert not asked
    run("--deterministic --output other")
    assert asked


def test_the_seed_decides_about_the_first_weights(calls):
    found = []
    for seed, output in ((0, "a"), (0, "b"), (1, "c")):
        run(f"--seed {seed} --output {output}")
        found.append(initial(calls))
    assert found[0] == found[1] != found[2]


def test_the_model_is_the_named_one(calls, monkeypatch):
    built = []
    monkeypatch.setitem(
        models.MODELS,
        "epsanet101_small",
        lambda **kwargs: built.append(1) or smallest(**kwargs),
    )
    train.main(["--model", "epsanet101_small", "--image-size", "32"])
    assert built


# Options that the tests above see arrive.
OTHERS = {
    "data",
    "tfds",
    "output",
    "weights",
    "inherit",
    "classes",
    "checkpoint_steps",
    "deterministic",
    "model",
    "val_share",
}


def test_every_option_is_seen_to_arrive():
    actions = train.make_parser("train")._actions
    names = {action.dest for action in actions} - {"help"}
    assert names == OTHERS | set(FIELDS)


def message_of(arguments, capsys):
    """Runs the command, which must end with a line, and returns that."""
    with pytest.raises(SystemExit) as caught:
        train.main(arguments.split())
    if isinstance(caught.value.code, str):
        return caught.value.code
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--data none", "must be a folder that exists"),
        ("--image-size 16", "at least 32 pixels"),
        ("--image-size big", "`image_size` must be a positive integer"),
        ("--epochs 0", "Received: epochs=0"),
        ("--batch-size -1", "Received: batch_size=-1"),
        ("--learning-rate inf", "Received: learning_rate=inf"),
        ("--learning-rate nan", "Received: learning_rate=nan"),
        ("--model resnet", "invalid choice: 'resnet'"),
        ("--weights none.keras", "There is no file none.keras"),
        ("--weights imagenet", "This package has no ImageNet weights"),
        ("--seed -1", "Received: seed=-1"),
        ("--data a --tfds b", "not allowed with"),
        ("--tfds none", "must be a dataset of TensorFlow Datasets"),
        ("--freeze", "needs --weights or --inherit"),
        ("--teacher none.keras", "Received: --teacher none.keras"),
        ("--temperature 2", "is of a --teacher, which is missing"),
        ("--inherit resnet18", "--inherit resnet18: There is no public"),
        ("--inherit none.pth", "Received: --inherit none.pth"),
        ("--inherit .", "Received: --inherit ."),
        ("--classes 0", "`classes` must be a positive integer"),
        ("--classes 4", "have 10 classes"),
        ("--checkpoint-steps x", "`checkpoint_steps` must be a positive"),
    ],
)
def test_bad_option_ends_with_one_line(
    arguments, message, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    text = message_of(arguments, capsys)
    assert text.startswith("train_classifier") and message in text
    assert "\n" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["inherit", "teacher"])
@pytest.mark.parametrize(
    "name, message",
    [
        ("empty.pth", "is an empty file"),
        ("text.pth", "is damaged, or a pickle that holds more than"),
        ("text.keras", "is damaged or not a model that Keras reads"),
        ("zip.keras", "is damaged or not a model that Keras reads"),
        ("text.txt", "must be a Keras model"),
        ("vgg.safetensors", "Entries found: features.0.weight"),
    ],
)
def test_a_file_that_is_no_resnet_ends_with_one_line(
    option, name, message, calls, monkeypatch, capsys, tmp_path
):
    safetensors = pytest.importorskip("safetensors.numpy")
    # As it is without the fixture of this module.
    monkeypatch.setattr(models.distillation, "read_teacher", READ_TEACHER)
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as file:
        file.writestr("name", "text")
    kernel = np.zeros((64, 3, 3, 3), "float32")
    vgg = {"features.0.weight": kernel}
    safetensors.save_file(vgg, tmp_path / "vgg.safetensors")
    (tmp_path / "empty.pth").touch()
    for ending in ("pth", "keras", "txt"):
        (tmp_path / f"text.{ending}").write_text("no model")
    before = sorted(tmp_path.iterdir())
    text = message_of(f"--image-size 32 --{option} {name}", capsys)
    assert text.startswith(f"train_classifier: --{option} {name}: ")
    assert message in text and "\n" not in text
    assert sorted(tmp_path.iterdir()) == before


def test_a_batch_that_devices_cannot_share_ends_with_a_line(
    calls, monkeypatch, capsys
):
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(starting, "make_strategy", lambda: strategy)
    text = message_of("--output new --batch-size 64", capsys)
    assert "63 or 66" in text and not hasattr(calls, "fitted")


def test_an_interruption_ends_with_a_line(calls, monkeypatch, capsys):
    def fit(model, average, dataset, evaluation, run, state, *others):
        state.step = 3
        others[0]._interrupt(2, None)
        raise SystemExit(75)

    monkeypatch.setattr(fitting, "fit", fit)
    with pytest.raises(SystemExit) as caught:
        run("--epochs 2")
    assert caught.value.code == 130
    assert "stopped after step 3 of 4. The same" in capsys.readouterr().err

    def interrupted_at_the_end(model, average, *arguments):
        # `Checkpointing` saves the last epoch and lets `fit` end.
        arguments[-2]._interrupt(2, None)

    monkeypatch.setattr(fitting, "fit", interrupted_at_the_end)
    with pytest.raises(SystemExit) as caught:
        run("--output other")
    assert caught.value.code == 130

    def insist(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit", insist)
    with pytest.raises(SystemExit) as caught:
        run("")
    assert caught.value.code == 130
    assert "interrupted. The same command" in capsys.readouterr().err


def test_a_best_epoch_that_is_lost_is_evaluated_again(calls, monkeypatch):
    def restore_best(model, average, run, state):
        state.best_step = state.best_value = None

    def finish(classifier, held_out, run, state, images, on_images):
        calls.best = state.best_step, state.best_value

    monkeypatch.setattr(fitting, "restore_best", restore_best)
    monkeypatch.setattr(train.finishing, "finish", finish)
    run("--epochs 1")
    step, value = calls.best
    assert step == 9 and 0 <= value <= 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a whole training of noise, and a function that goes on."""
    folder = tmp_path_factory.mktemp("trained") / "run"

    def go_on(arguments=""):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(models.MODELS, "tiny", smallest)
            patch.setattr(
                sources,
                "open_images",
                lambda *_: sources.Images(
                    make_dataset(9), make_dataset(4), "noise", {".txt": 2}
                ),
            )
            patch.setattr(agreement, "_exports", dict)
            train.main(["--output", str(folder), *arguments.split()])

    options = "--model tiny --image-size 32 --epochs 1 --batch-size 4"
    go_on(f"{options} --precision mixed_bfloat16")
    return folder, go_on


def test_training_leaves_the_model_pictures_and_tables(trained):
    folder, _ = trained
    names = {path.name for path in folder.iterdir()}
    assert names >= set(run_folder.RESULTS) | {
        "checkpoints",
        "images.json",
        "log.csv",
        "recipe.json",
        "results.json",
        "tensorboard",
    }
    assert len(list((folder / "checkpoints").iterdir())) == 1


def test_the_saved_model_is_in_float32_and_as_accurate(trained):
    folder, _ = trained
    model = keras.saving.load_model(folder / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert all(layer.trainable for layer in model.layers)
    results = json.loads((folder / "results.json").read_text())
    with open(folder / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert results["top1"] == pytest.approx(float(row["val_top1"]), abs=0.26)


def test_a_finished_training_says_how_to_go_on(trained, capsys):
    folder, go_on = trained
    before = (folder / "results.json").stat().st_mtime_ns
    go_on()
    text = capsys.readouterr().out
    assert text.startswith(f"{folder} holds a finished training: 1 epoch(s)")
    assert "raise --epochs" in text
    assert (folder / "results.json").stat().st_mtime_ns == before


def test_a_longer_training_says_what_happens_to_the_rate(calls, capsys):
    run("--epochs 2")
    assert "instead of" not in capsys.readouterr().out
    run("--epochs 2")
    assert "instead of" not in capsys.readouterr().out
    run("--epochs 3")
    assert "3 epochs instead of 2: from here" in capsys.readouterr().out


@pytest.mark.parametrize("step, epoch", [(0, None), (1, 1), (3, 2), (5, 2)])
def test_a_training_that_goes_on_says_from_where(step, epoch, capsys):
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    images = sources.Images(make_dataset(9), make_dataset(4), "noise")
    recipe = ClassifierRecipe(model="tiny")
    state = State(step=step, steps_per_epoch=3)
    train.report_start(recipe, strategy, images, state)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == (
        "tiny on 2 device(s): 3 classes, 9 images to train, 4 held out"
    )
    going_on = f"Going on after step {step} of 6, in epoch {epoch} of 2"
    assert (going_on in lines) == (step > 0)
    assert lines[-1].startswith("The first step takes")


@pytest.mark.parametrize("size, missing", [(4, 3), (9, 0), (3, 0), (20, 11)])
def test_what_fills_up_the_last_batch_is_counted(size, missing, capsys):
    strategy = types.SimpleNamespace(num_replicas_in_sync=1)
    images = sources.Images(make_dataset(9), make_dataset(4), "noise")
    recipe = ClassifierRecipe(model="tiny", batch_size=size)
    steps = batches.steps_per_epoch(images.train, recipe)
    state = State(steps_per_epoch=steps)
    train.report_start(recipe, strategy, images, state)
    text = capsys.readouterr().out
    line = f"The last of the {steps} step(s) of an epoch, {size} images each, "
    line += f"is filled up with {missing} that the epoch had already\n"
    assert (line in text) == ("filled up" in text) == bool(missing)


def test_the_end_says_how_to_try_it(calls, capsys):
    run("--output mine")
    assert capsys.readouterr().out.endswith(
        "To try it: keras-epsanet predict --model mine/model.keras IMAGE...\n"
    )


def test_missing_results_are_written_again_without_training(trained, capsys):
    folder, go_on = trained
    (folder / "confusion.png").unlink()
    go_on()
    text = capsys.readouterr().out
    assert "Going on after step 3 of 3" in text and "Epoch" not in text
    assert "Left out: 2 files (2 .txt)" in text
    assert (folder / "confusion.png").exists()
    assert "The first step" not in text


def test_finished_early_tells_of_patience(capsys):
    recipe = ClassifierRecipe(epochs=9, patience=2)
    finished = {"epochs": 5, "top1": 0.5, "best_epoch": 3}
    train.report_finished("run", recipe, finished)
    text = capsys.readouterr().out
    assert "ended early by --patience 2" in text and "raise --patience" in text


def test_arguments_come_from_the_process_unless_they_are_given(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_classifier", "--epochs", "4"])
    assert train.parse() == argparse.Namespace(
        **{**vars(train.parse([])), "epochs": 4}
    )


def test_an_early_end_is_told(calls, monkeypatch, capsys):
    def fit(model, average, dataset, evaluation, run, state, *others):
        state.step, state.best_step, state.best_value = 6, 3, 0.5

    monkeypatch.setattr(fitting, "fit", fit)
    # Epochs of three steps.
    run("--batch-size 3 --epochs 2 --patience 1")
    assert "Ended by" not in capsys.readouterr().out
    run("--batch-size 3 --epochs 9 --patience 1 --output other")
    assert (
        "Ended by --patience 1: no epoch was better than epoch 1\n"
        in capsys.readouterr().out
    )


def test_pictures_that_cannot_be_drawn_end_before_any_work(calls, monkeypatch):
    def fail():
        raise ImportError("no matplotlib")

    monkeypatch.setattr(train.pictures, "import_pyplot", fail)
    with pytest.raises(SystemExit, match="no matplotlib"):
        run("")
    assert not hasattr(calls, "images")
