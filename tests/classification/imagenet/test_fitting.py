import types

import keras
import pytest

from keras_epsanet import training
from keras_epsanet.classification.imagenet import fitting
from keras_epsanet.data import imagenet
from keras_epsanet.training import callbacks

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

import tensorflow as tf


class TwoWorkers(tf.distribute.MultiWorkerMirroredStrategy):
    """Asks for the data of one worker of two, without any other process."""

    def __init__(self, index):
        self.index = index

    def distribute_datasets_from_function(self, function):
        return function(
            types.SimpleNamespace(
                input_pipeline_id=self.index,
                num_input_pipelines=2,
                get_per_replica_batch_size=lambda size: size // 2,
            )
        )


def test_workers_share_each_batch(monkeypatch):
    def training_batches(source, batch_size, shard, **options):
        index, count = shard
        part = tf.data.Dataset.range(3 * batch_size).shard(count, index)
        # As the data come: with the whole batch's part in one.
        return part.batch(batch_size // count)

    monkeypatch.setattr(imagenet, "training_batches", training_batches)
    recipe = training.ImageNetRecipe(batch_size=8)
    parts = []
    for index in range(2):
        batches, waited = fitting.make_batches(
            TwoWorkers(index), None, recipe, 0
        )
        parts.append([list(map(int, batch)) for batch in batches])
        assert waited() > 0
    for step, (one, other) in enumerate(zip(*parts, strict=True)):
        assert len(one) == len(other) == 4
        assert sorted(one + other) == list(range(8 * step, 8 * step + 8))


def test_statistics_are_taken_of_the_batches_of_the_training(monkeypatch):
    seen = {}

    def training_batches(source, batch_size, **options):
        seen.update(options, batch_size=batch_size)
        return "batches"

    class Model:
        def evaluate(self, batches, **_):
            assert batches == "evaluation"
            return {"top1": 0.75}

    monkeypatch.setattr(imagenet, "training_batches", training_batches)
    monkeypatch.setattr(fitting, "worker", lambda strategy: (1, 2))
    monkeypatch.setattr(
        fitting, "evaluation_batches", lambda *arguments: "evaluation"
    )
    monkeypatch.setattr(
        fitting,
        "recalibrate_batch_norm",
        lambda model, batches, steps: seen.update(batches=batches, steps=steps),
    )
    recipe = training.ImageNetRecipe(
        batch_size=8, recalibration_steps=3, antialias=False, seed=5
    )
    assert fitting.recalibrate(Model(), None, None, recipe) == 0.75
    assert seen == {
        "batch_size": 8,
        "image_size": 224,
        "seed": 5,
        "augmentations": None,
        "shard": (1, 2),
        "antialias": False,
        "batches": "batches",
        "steps": 3,
    }
    seen.clear()
    plain = training.ImageNetRecipe()
    assert fitting.recalibrate(Model(), None, None, plain) is None and not seen


RECIPE = training.ImageNetRecipe(
    epochs=4,
    batch_size=8,
    accumulation_steps=2,
    image_size=40,
    seed=5,
    antialias=False,
    augmentations=("mix_up",),
)


def test_fields_of_the_recipe_reach_the_batches(monkeypatch):
    seen = []

    def note(source, size, **options):
        seen.append({"source": source, "size": size, **options})
        return tf.data.Dataset.range(1)

    monkeypatch.setattr(imagenet, "training_batches", note)
    monkeypatch.setattr(imagenet, "evaluation_batches", note)
    strategy = tf.distribute.get_strategy()
    fitting.make_batches(strategy, "source", RECIPE, 7)
    fitting.evaluation_batches(strategy, "source", RECIPE)
    both = {"source": "source", "size": 4, "image_size": 40, "shard": (0, 1)}
    options = {"seed": 5, "first_step": 7, "antialias": False}
    assert seen == [both | options | {"augmentations": ("mix_up",)}, both]


def test_steps_are_those_of_whole_batches():
    source = types.SimpleNamespace(num_train=11)
    assert fitting.count_steps(source, RECIPE) == 2
    source.num_train = 3
    with pytest.raises(ValueError, match="batch_size=4, 3 images"):
        fitting.count_steps(source, RECIPE)


class Model:
    """Notes what `fit` is told, and takes all of its steps."""

    def __init__(self, state):
        self.state, self.fits = state, []

    def fit(self, batches, **options):
        self.fits.append((batches, options))
        epochs = options["epochs"] - options["initial_epoch"]
        self.state.step += epochs * options["steps_per_epoch"]


@pytest.fixture
def fit(monkeypatch, tmp_path):
    """Function that trains from the step 4 of 12, one of several workers."""
    monkeypatch.setattr(
        fitting,
        "make_batches",
        lambda strategy, source, recipe, step: (f"from {step}", lambda: 0.0),
    )
    monkeypatch.setattr(fitting, "evaluation_batches", lambda *_: "held out")

    def run(workers, is_chief, average=None):
        monkeypatch.setattr(callbacks, "worker", lambda _: (0, workers))
        state = training.State(step=4, steps_per_epoch=3)
        model, folder = (
            Model(state),
            types.SimpleNamespace(
                path=str(tmp_path),
                recipe=RECIPE,
                is_chief=is_chief,
                claim=None,
            ),
        )
        strategy = tf.distribute.get_strategy()
        fitting.fit(
            model, average, strategy, None, folder, state, "interruption", 7
        )
        return model.fits

    return run


def test_the_rest_of_an_epoch_comes_before_the_others(fit):
    (first, part), (second, rest) = fit(1, True)
    assert (first, second) == ("from 4", "from 6")
    names = ("initial_epoch", "epochs", "steps_per_epoch")
    assert [part[name] for name in names] == [1, 2, 2]
    assert [rest[name] for name in names] == [2, 4, 3]
    assert part["validation_data"] == rest["validation_data"] == "held out"


@pytest.mark.parametrize("is_chief", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_callbacks_write_logs_before_they_save(fit, workers, is_chief):
    average = keras.callbacks.Callback()
    _, (_, options) = fit(workers, is_chief, average)
    *others, log, last = (
        x
        for x in options["callbacks"]
        if not isinstance(x, (keras.callbacks.CSVLogger, training.ScalarEvents))
    )
    assert others[-1] is average
    # Whoever waits for another worker is ended.
    assert len(others) == workers
    assert isinstance(others[0], training.Watchdog) == (workers > 1)
    assert isinstance(log, training.EpochLog) and log.batch_size == 4
    assert isinstance(last, training.Checkpointing)
    assert options["callbacks"][-1] is last
    assert (last.interval, last.preemption) == (7, "interruption")
    assert last.average is average
    # One worker writes.
    assert len(options["callbacks"]) == len(others) + 2 + 2 * is_chief
    assert options["callbacks"].index(log) == len(others)
