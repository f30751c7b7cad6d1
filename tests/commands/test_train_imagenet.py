"""Each option and each field of the recipe reaches its use."""

import dataclasses
import functools
import types

import keras
import numpy as np
import pytest
from recipe_options import RECIPE_OPTIONS
from seen_training import SeenTraining

from keras_epsanet import EPSANet, training
from keras_epsanet.classification.imagenet import fitting, models, starting
from keras_epsanet.commands import train_imagenet
from keras_epsanet.data import imagenet

if keras.backend.backend() != "tensorflow":
    pytest.skip("ImageNet is read by TensorFlow", allow_module_level=True)

import tensorflow as tf

NUM_TRAIN = 48
TOP1 = (0.2, 0.9, 0.5)  # Of the epochs: the second is the best.

# What is given on the command line, and the value of the field.
OPTIONS = {
    **RECIPE_OPTIONS,
    "model": ("--model epsanet50_large", "epsanet50_large"),
    "image_size": ("--image-size 40", 40),
    "batch_size": ("--batch-size 12", 12),
    "warm_up_epochs": ("--warm-up-epochs 1.5", 1.5),
    "label_smoothing": ("--label-smoothing 0.25", 0.25),
    "augmentations": ("--augmentations mix_up,cut_mix", ("mix_up", "cut_mix")),
    "antialias": ("--no-antialias", False),
    "recalibration_steps": ("--recalibration-steps 3", 3),
    "teacher": ("--teacher resnet50.tv2", "resnet50.tv2"),
    "teacher_share": ("--teacher-share 0.75", 0.75),
    "temperature": ("--temperature 2.5", 2.5),
    "freeze": ("--inherit resnext --freeze", True),
}
WITH_TEACHER = ("teacher", "teacher_share", "temperature", "freeze")


class Seen(SeenTraining):
    @property
    def checkpointing(self):
        (callback,) = self.callbacks(training.Checkpointing)
        return callback


# Where the fields arrive: functions of what was seen, which give the field.
USES = {
    "model": [lambda s: s.name, lambda s: s.trained.name],
    "image_size": [
        lambda s: s.network["input_shape"][0],
        lambda s: s.trained.input_shape[1],
        lambda s: s.training["image_size"],
        lambda s: s.evaluation["image_size"],
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
    "learning_rate": [lambda s: s.schedule("peak") * 256 / s.batch_size],
    "schedule": [lambda s: s.schedule("kind")],
    "decay_epochs": [lambda s: s.schedule("decay_epochs")],
    "decay_factor": [lambda s: s.schedule("decay_factor")],
    "warm_up_epochs": [lambda s: s.schedule("warm_up_epochs")],
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
    "ema": [
        lambda s: next(
            (c.decay for c in s.callbacks(training.WeightAverage)), None
        ),
        lambda s: getattr(s.checkpointing.average, "decay", None),
    ],
    "precision": [
        lambda s: s.network["dtype"],
        lambda s: (
            "mixed_float16"
            if isinstance(s.trained.optimizer, training.LossScale)
            else "float32"
        ),
    ],
    "sync_bn": [lambda s: s.network["synchronized"]],
    "seed": [lambda s: s.seed, lambda s: s.training["seed"]],
    "label_smoothing": [lambda s: s.trained.loss.label_smoothing],
    "augmentations": [lambda s: s.training["augmentations"]],
    "antialias": [lambda s: s.training["antialias"]],
    "backbone_rate": [
        lambda s: {
            path.rpartition("conv1_conv/")[2]: factor
            for path, factor in s.optimizer.get_config()["scaled_rates"]
        }.get("kernel")
    ],
    "recalibration_steps": [lambda s: getattr(s, "recalibrated", None)],
    "teacher": [lambda s: getattr(s, "teacher", None)],
    "teacher_share": [
        lambda s: 1 - getattr(s.trained, "student_loss_weight", 1)
    ],
    "temperature": [
        lambda s: (
            s.trained.distillation_losses[0].temperature
            if hasattr(s.trained, "distillation_losses")
            else None
        )
    ],
    "freeze": [lambda s: len(s.trained.trainable_variables) == 2],
}


def make_sequential(input_shape, classes):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(2, 1, name="conv1_conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, name="predictions"),
        ]
    )


def run(monkeypatch, output, *arguments, chief=True, bad=()):
    """Trains up to the end with data and steps that cost nothing."""
    seen = Seen(deterministic=False)

    def make_network(name):
        def make(input_shape, classes, **kwargs):
            seen.name = name
            seen.network = {"input_shape": input_shape, **kwargs}
            return make_sequential(input_shape, classes)

        return make

    for name in models.MODELS:
        monkeypatch.setitem(models.MODELS, name, make_network(name))

    def open_source(path):
        seen.data = path
        return types.SimpleNamespace(
            num_train=NUM_TRAIN, num_val=8, class_names=list("abc"), bad=bad
        )

    def note_batches(name):
        def make(source, batch_size, **options):
            setattr(seen, name, {"batch_size": batch_size, **options})
            return tf.data.Dataset.range(1)

        return make

    def fit(model, batches, **options):
        seen.trained, seen.fit = model, options
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = seen.checkpointing.state
        callbacks = keras.callbacks.CallbackList(
            seen.callbacks(training.WeightAverage) + [seen.checkpointing],
            model=model,
        )
        callbacks.on_train_begin()
        for epoch in range(options["epochs"]):
            callbacks.on_epoch_begin(epoch)
            for weight in model.weights:
                weight.assign(np.full(weight.shape, float(epoch)))
            state.step += state.steps_per_epoch
            logs = {"val_top1": TOP1[epoch]} if chief else {}
            callbacks.on_epoch_end(epoch, logs)

    monkeypatch.setattr(imagenet, "open_source", open_source)
    for name in ("training", "evaluation"):
        function = f"{name}_batches"
        monkeypatch.setattr(imagenet, function, note_batches(name))

    def read_teacher(source, network, classes):
        seen.teacher = source
        return make_sequential(network.input_shape[1:], classes)

    def inherit(network, source, *_):
        seen.inherit = source
        return f"Initialized from {source}"

    def recalibrate(model, batches, steps):
        seen.recalibrated = steps

    monkeypatch.setattr(
        models.distillation, "read_resnet_teacher", read_teacher
    )
    monkeypatch.setattr(starting, "_inherit", inherit)
    monkeypatch.setattr(fitting, "recalibrate_batch_norm", recalibrate)
    monkeypatch.setattr(
        keras.Model, "evaluate", lambda *_, **__: {"top1": 0.625}
    )
    monkeypatch.setattr(keras.Model, "fit", fit)
    note_seed = functools.partial(setattr, seen, "seed")
    monkeypatch.setattr(keras.utils, "set_random_seed", note_seed)
    monkeypatch.setattr(training, "is_chief", lambda strategy: chief)
    monkeypatch.setattr(
        tf.config.experimental,
        "enable_op_determinism",
        lambda: setattr(seen, "deterministic", True),
    )
    args = train_imagenet.parse(["--output", str(output), *arguments])
    recipe = train_imagenet.choose_recipe(args)
    seen.parts, seen.batch_size = recipe.accumulation_steps, recipe.batch_size
    train_imagenet.train(args)
    return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What is seen of a training by the defaults, and of two others."""

    def options(names):
        return " ".join(OPTIONS[name][0] for name in names).split()

    others = [name for name in OPTIONS if name not in WITH_TEACHER]
    with pytest.MonkeyPatch.context() as monkeypatch:
        return tuple(
            run(monkeypatch, tmp_path_factory.mktemp("run"), *arguments)
            for arguments in (
                ("--data", "IMAGENET", "--batch-size", "16", "--epochs", "2"),
                ("--data", "IMAGENET", *options(others)),
                (
                    *("--data", "IMAGENET", "--epochs", "2"),
                    *("--batch-size", "16", *options(WITH_TEACHER)),
                ),
            )
        )


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(training.ImageNetRecipe)]
)
def test_every_field_reaches_its_uses(runs, field):
    _, expected = OPTIONS[field]
    default, changed, with_teacher = runs
    if field in WITH_TEACHER:
        changed = with_teacher
    assert getattr(training.IMAGENET, field) != expected
    for use in USES[field]:
        assert use(changed) == expected
        assert use(default) != expected


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("ema", [None, 0.75])
def test_the_best_and_the_last_epoch_are_exported(
    tmp_path, monkeypatch, ema, again
):
    arguments = ["--data", "X", "--epochs", "3", "--batch-size", "16"]
    arguments += ["--ema", str(ema)] if ema else []
    for _ in range(1 + again):  # The second time nothing is left to train.
        run(monkeypatch, tmp_path, *arguments)
    network = make_sequential((224, 224, 3), 3)
    for name, epoch in (("last", 2), ("best", 1)):
        network.load_weights(tmp_path / f"{name}.weights.h5")
        kernel, *_ = network.get_weights()
        # Without a step, the average is that of the start, no constant.
        assert np.all(kernel == epoch) != bool(ema)


def test_a_worker_that_is_not_the_chief_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    seen = run(
        monkeypatch,
        tmp_path,
        "--data",
        "X",
        "--epochs",
        "3",
        "--batch-size",
        "16",
        chief=False,
    )
    assert seen.fit["verbose"] == 0 and not capsys.readouterr().out
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


SHORT = ("--epochs", "1", "--batch-size", "16")


def test_every_other_option_has_a_test():
    args = train_imagenet.parse(["--data", "A", "--output", "B"])
    assert set(vars(args)) == {
        "data",  # test_the_data_and_the_interval_of_checkpoints
        "smoke",  # tests/examples/test_train_imagenet.py
        "output",  # every test
        "resume",  # test_resume_takes_the_recipe_and_needs_a_checkpoint
        "checkpoint_steps",  # test_the_data_and_the_interval_of_checkpoints
        "deterministic",  # test_determinism
        "recipe",  # test_a_recipe_comes_from_its_file
        "inherit",  # test_a_training_that_goes_on_does_not_inherit
    }


def test_the_data_and_the_interval_of_checkpoints(tmp_path, monkeypatch):
    seen = run(
        monkeypatch,
        tmp_path,
        "--data",
        "A/B",
        *SHORT,
        "--checkpoint-steps",
        "7",
    )
    assert seen.data == "A/B" and seen.checkpointing.interval == 7
    assert seen.checkpointing.run.path == str(tmp_path)


def test_a_training_that_goes_on_does_not_inherit(tmp_path, monkeypatch):
    arguments = ("--data", "X", *SHORT, "--inherit")
    seen = run(monkeypatch, tmp_path, *arguments, "resnet50.tv2")
    assert seen.inherit == "resnet50.tv2"
    note = (tmp_path / "initialized_from.txt").read_text()
    assert note == "resnet50.tv2\nInitialized from resnet50.tv2\n"
    seen = run(monkeypatch, tmp_path, *arguments, "gone.pth")
    assert not hasattr(seen, "inherit")
    with pytest.raises(ValueError, match="There is no file gone.pth"):
        run(monkeypatch, tmp_path / "other", *arguments, "gone.pth")
    for wrong, message in (
        (("--teacher", "gone.pth"), "--teacher must be.*no file gone.pth"),
        # There is no --weights here.
        (("--freeze",), "needs --inherit. Received"),
    ):
        with pytest.raises(ValueError, match=message):
            run(monkeypatch, tmp_path / "other", *arguments[:-1], *wrong)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("option", ["--inherit", "--teacher"])
def test_a_resnet_that_does_not_fit_leaves_no_folder(tmp_path, option):
    resnet = EPSANet((1,), (16,), (3,), (1,), reduction=4, classes=10)
    resnet.save(tmp_path / "resnet.keras")
    arguments = ["--smoke", "--output", str(tmp_path / "run")]
    arguments += [option, str(tmp_path / "resnet.keras")]
    with pytest.raises(SystemExit, match=f"^mine: {option} .* does not fit"):
        train_imagenet.main(arguments, "mine")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [(), ("--deterministic",)])
def test_determinism(tmp_path, monkeypatch, arguments):
    seen = run(monkeypatch, tmp_path, "--data", "X", *SHORT, *arguments)
    assert seen.deterministic == bool(arguments)


def test_a_recipe_comes_from_its_file(tmp_path, monkeypatch):
    recipe = training.ImageNetRecipe(epochs=1, batch_size=8, momentum=0.5)
    file = tmp_path / "mine.json"
    file.write_text(recipe.to_json())
    seen = run(
        monkeypatch,
        tmp_path / "run",
        "--data",
        "X",
        "--recipe",
        str(file),
        "--batch-size",
        "4",
    )
    assert seen.optimizer.momentum == 0.5 and seen.batch_size == 4


def test_a_trained_start_is_gentle_unless_a_file_says_otherwise(tmp_path):
    def choose(*arguments):
        arguments = ("--data", "X", "--output", "Y", *arguments)
        return train_imagenet.choose_recipe(train_imagenet.parse(arguments))

    assert choose("--inherit", "resnext").learning_rate == 0.01
    assert choose("--inherit", "resnext").warm_up_epochs == 5
    given = choose("--inherit", "resnext", "--learning-rate", "0.2")
    assert given.learning_rate == 0.2
    assert choose() == training.IMAGENET
    file = tmp_path / "mine.json"
    file.write_text(training.IMAGENET.to_json())
    recipe = choose("--inherit", "resnext", "--recipe", str(file))
    assert recipe == training.IMAGENET


def test_resume_takes_the_recipe_and_needs_a_checkpoint(tmp_path, monkeypatch):
    resume = ("--data", "X", "--resume")
    with pytest.raises(ValueError, match="no checkpoint"):
        training.RunFolder(tmp_path, training.ImageNetRecipe(batch_size=16))
        run(monkeypatch, tmp_path, *resume)
    output = tmp_path / "other"
    run(monkeypatch, output, "--data", "X", *SHORT, "--momentum", "0.5")
    # It has no step left to do.
    seen = run(monkeypatch, output, *resume)
    assert seen.batch_size == 16 and not hasattr(seen, "fit")


def test_resume_does_not_hide_the_recipe_of_a_file(tmp_path):
    recipe = training.ImageNetRecipe(epochs=1, batch_size=8, momentum=0.5)
    file = tmp_path / "mine.json"
    file.write_text(recipe.to_json())
    training.RunFolder(tmp_path / "run", training.ImageNetRecipe())
    arguments = f"--data X --output {tmp_path}/run --resume --recipe {file}"
    args = train_imagenet.parse(arguments.split())
    assert train_imagenet.choose_recipe(args) == recipe


@pytest.mark.parametrize(
    "arguments, interval",
    [
        (["--data", "A"], 1000),
        (["--smoke"], 3),
        (["--smoke", "--checkpoint-steps", "1"], 1),
    ],
)
def test_the_interval_of_checkpoints_has_defaults(arguments, interval):
    args = train_imagenet.parse(["--output", "B", *arguments])
    assert args.checkpoint_steps == interval
    assert not args.resume


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            "--data A --output B --checkpoint-steps 0",
            "must be a positive integer",
        ),
        ("--data A", "required: --output"),
        ("--output B", "--data --smoke is required"),
        ("--data A --smoke --output B", "not allowed with"),
        ("--data A --output B --model resnet", "invalid choice"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        train_imagenet.parse(arguments.split())
    assert message in capsys.readouterr().err


def test_an_error_ends_with_a_line(tmp_path):
    arguments = ["--data", f"{tmp_path}/none", "--output", f"{tmp_path}/run"]
    with pytest.raises(SystemExit, match=f"^mine: .*{tmp_path}/none"):
        train_imagenet.main(arguments, "mine")


def test_ctrl_c_before_the_training_ends_with_a_line(monkeypatch, capsys):
    def fail(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_imagenet, "choose_recipe", fail)
    with pytest.raises(SystemExit) as error:
        train_imagenet.main(["--data", "A", "--output", "B"])
    assert error.value.code == 130
    assert "train_imagenet: interrupted. The same" in capsys.readouterr().err


def test_a_signal_in_the_training_ends_with_a_line(
    monkeypatch, tmp_path, capsys
):
    def fit(model, average, strategy, source, run, state, interruption, steps):
        state.step = 2
        interruption._request(15, None)
        raise SystemExit(75)

    monkeypatch.setattr(train_imagenet.fitting, "fit", fit)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, tmp_path, "--data", "X", *SHORT)
    assert error.value.code == 75
    assert "train_imagenet: stopped after step 2 of 3. The same" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("to_this_one", [True, False])
def test_a_signal_in_the_last_epoch_ends_all_workers(
    to_this_one, monkeypatch, tmp_path, capsys
):
    def fit(model, average, strategy, source, run, state, interruption, steps):
        state.step = 3
        if to_this_one:
            interruption._request(15, None)

    monkeypatch.setattr(train_imagenet.fitting, "fit", fit)
    # Another worker has it in any case.
    monkeypatch.setattr(
        training, "any_worker", lambda strategy: lambda requested: True
    )
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, tmp_path, "--data", "X", *SHORT)
    assert error.value.code == 75
    assert "stopped after step 3 of 3. The same" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.weights.h5"))


def test_a_batch_larger_than_the_data_is_refused(tmp_path, monkeypatch):
    arguments = ("--data", "X", "--epochs", "1", "--batch-size")
    run(monkeypatch, tmp_path / "a", *arguments, str(NUM_TRAIN))
    with pytest.raises(ValueError, match="batch_size=49, 48 images"):
        run(monkeypatch, tmp_path / "b", *arguments, str(NUM_TRAIN + 1))


def test_lines_of_epochs_to_be_run_again_are_removed(tmp_path, monkeypatch):
    run(monkeypatch, tmp_path, "--data", "X", *SHORT)
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\r\n0,2\r\n1,1\r\n")
    run(monkeypatch, tmp_path, "--data", "X", *SHORT)
    assert log.read_bytes() == b"epoch,loss\r\n0,2\r\n"


def test_bad_images_are_named_in_the_end(tmp_path, monkeypatch, capsys):
    bad = ["a.jpg", "b.jpg"]
    seen = run(monkeypatch, tmp_path, "--data", "X", *SHORT, bad=bad)
    assert "2 images are bad:\na.jpg\nb.jpg\n" in capsys.readouterr().out
    # The batches are shuffled already, which Keras would warn of.
    assert seen.fit["shuffle"] is False and seen.fit["verbose"] == "auto"


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(training, "make_strategy", lambda: strategy)
    with pytest.raises(ValueError, match="Received: batch_size=8$"):
        options = ("--batch-size", "16", "--accumulation-steps", "2")
        run(monkeypatch, tmp_path / "run", "--data", "X", *options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("is_remote", [False, True])
def test_images_of_a_smoke_run_are_in_its_folder_or_a_temporary_one(
    tmp_path, monkeypatch, is_remote
):
    written = []

    def write_images(path):
        written.append(path)
        (tmp_path / path).mkdir(parents=True)

    monkeypatch.setattr(train_imagenet.smoke, "write_images", write_images)
    monkeypatch.setattr(imagenet, "open_source", lambda path: ["opened", path])
    folders = iter([f"{tmp_path}/first", f"{tmp_path}/second"])
    monkeypatch.setattr(
        train_imagenet.tempfile, "mkdtemp", lambda: next(folders)
    )
    removed = []
    monkeypatch.setattr(
        train_imagenet.atexit, "register", lambda *x, **_: removed.append(x[1])
    )
    output = "gs://bucket/run" if is_remote else f"{tmp_path}/run"
    args = train_imagenet.parse(["--smoke", "--output", output])
    found = [train_imagenet.open_source(args) for _ in range(2)]
    if is_remote:
        assert removed == [f"{tmp_path}/first", f"{tmp_path}/second"]
        assert written == [f"{x}/smoke_images" for x in removed]
        assert found == [["opened", x] for x in written]
    else:
        # Once for all that go on.
        assert written == [f"{output}/smoke_images"] and not removed
        assert found == 2 * [["opened", written[0]]]


def test_the_start_says_how_many_images_there_are(capsys):
    source = types.SimpleNamespace(
        class_names=list("abc"), num_train=1234, num_val=5678
    )
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    state = training.State(step=3, steps_per_epoch=2)
    recipe = training.ImageNetRecipe(epochs=2)
    train_imagenet.report_start(recipe, strategy, source, state)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "epsanet50_small on 2 device(s): 3 classes, 1,234 images to train, "
        "5,678 to evaluate",
        "Going on after step 3 of 4, in epoch 2 of 2",
    ]
