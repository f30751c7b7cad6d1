import csv
import dataclasses
import types

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.detection import fitting

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

STEPS = 4
RECIPE = training.CocoRecipe(
    epochs=3, batch_size=2, learning_rate=0.5, warm_up_steps=None
)
MOST_STEPS = 9 * STEPS
# As of shuffled images, every epoch has batches of its own.
X = np.random.default_rng(0).normal(size=(MOST_STEPS, 2, 3)).astype("float32")
COLUMNS = ("epoch", "loss", "learning_rate", "val_AP", "bad_images")


class Evaluator(keras.callbacks.Callback):
    """Logs a number that tells the weights; fails after some steps."""

    def __init__(self, fails_after=()):
        super().__init__()
        self.fails_after = fails_after

    def on_epoch_end(self, epoch, logs=None):
        if int(self.model.optimizer.iterations) in self.fails_after:
            raise OSError("the evaluation fails")
        logs["val_AP"] = float(np.sum(self.model.get_weights()[0]))


class Never:
    """An interruption that does not come."""

    requested = False


class After:
    """An interruption that comes after so many questions."""

    def __init__(self, number):
        self.number = number

    @property
    def requested(self):
        self.number -= 1
        return self.number < 0


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Function that trains in a folder, from wherever it was."""

    def make_batches(annotations, recipe, training, first_step, shard):
        assert shard == (0, 1)
        steps = tf.data.Dataset.range(first_step, MOST_STEPS)
        return steps.map(lambda step: 2 * (tf.constant(X)[step],))

    monkeypatch.setattr(fitting, "make_batches", make_batches)

    def run(
        name,
        interruption=Never,
        interval=99,
        fails_after=(),
        ema=None,
        **changes,
    ):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile(
            training.make_optimizer(RECIPE, STEPS), "mse", run_eagerly=True
        )
        evaluator = changes.pop("evaluator", Evaluator(fails_after))
        recipe = dataclasses.replace(RECIPE, **changes)
        folder = training.RunFolder(tmp_path / name, recipe)
        average = training.WeightAverage(model, ema) if ema else None
        state = folder.restore(model, STEPS, average=average)
        parts = [types.SimpleNamespace(bad=names) for names in BAD]
        result = types.SimpleNamespace(
            model=model, state=state, folder=folder, start=state.step
        )
        try:
            fitting.fit(
                model,
                average,
                tf.distribute.get_strategy(),
                {"train": parts[0], "val": parts[1]},
                folder,
                state,
                evaluator,
                interruption,
                interval,
            )
        except (OSError, SystemExit) as error:
            result.error = error
        return result

    return run


BAD = (["a.jpg", "b.jpg"], ["b.jpg"])


def log(run):
    with open(f"{run.folder.path}/log.csv", newline="") as file:
        return [[row[x] for x in COLUMNS] for row in csv.DictReader(file)]


def assert_same(run, expected):
    for ours, theirs in zip(
        run.model.get_weights(), expected.model.get_weights()
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert log(run) == log(expected)
    assert run.state == expected.state


@pytest.mark.parametrize("ema", [None, 0.5])
def test_an_epoch_whose_evaluation_failed_is_evaluated_first(train, ema):
    whole = train("whole", ema=ema)
    part = train("part", fails_after=[2 * STEPS], ema=ema)
    assert "fails" in str(part.error) and len(log(part)) == 1
    rest = train("part", ema=ema)
    assert rest.start == 2 * STEPS
    assert_same(rest, whole)


def test_an_evaluation_that_fails_again_costs_nothing(train):
    part = train("part", fails_after=[3 * STEPS])
    again = train("part", fails_after=[3 * STEPS])
    assert "fails" in str(part.error) and "fails" in str(again.error)
    rest = train("part")
    assert rest.start == again.start == 3 * STEPS
    assert_same(rest, train("whole"))


def test_the_loss_of_an_interrupted_epoch_covers_all_of_its_steps(train):
    # Before the last step, which alone is left then.
    part = train("part", After(STEPS - 2))
    assert part.error.code == training.PREEMPTED
    assert part.state.step == STEPS - 1
    train("part", fails_after=[STEPS])
    assert_same(train("part"), train("whole"))


# It asks behind every step and behind every epoch.
@pytest.mark.parametrize("step, asked", [(1, 0), (STEPS + 2, STEPS + 2)])
def test_epochs_behind_an_interrupted_one_are_whole(train, step, asked):
    part = train("part", After(asked))
    assert part.error.code == training.PREEMPTED and part.state.step == step
    assert_same(train("part"), train("whole"))


def test_an_interruption_in_the_last_step_leaves_the_evaluation(train):
    part = train("part", After(STEPS - 1))
    assert part.error.code == training.PREEMPTED
    assert part.state.step == STEPS and part.state.logs
    assert_same(train("part"), train("whole"))


def test_a_kill_behind_the_log_leaves_no_line_twice(train, monkeypatch):
    save = training.RunFolder.save

    def fail(self, model, state, average=None):
        if state.step == 2 * STEPS and state.logs is None:
            raise OSError("killed")
        return save(self, model, state, average)

    with monkeypatch.context() as patch:
        patch.setattr(training.RunFolder, "save", fail)
        part = train("part")
    assert "killed" in str(part.error) and len(log(part)) == 2
    assert_same(train("part"), train("whole"))


def test_bad_images_are_named_once_and_counted(train, capsys):
    rows = log(train("whole"))
    assert [row[-1] for row in rows] == ["2", "2", "2"]
    text = capsys.readouterr().out
    assert text.count("\n2 images are bad:\na.jpg\nb.jpg\n") == 1


def test_bad_images_of_all_workers_count_once(monkeypatch, capsys):
    others = [["c.jpg"], ["d.jpg", "c.jpg"]]
    monkeypatch.setattr(
        fitting, "gather_objects", lambda own, strategy: [own, others.pop(0)]
    )
    own = [types.SimpleNamespace(bad=["a.jpg"])]
    bad = fitting.BadImages(own, tf.distribute.get_strategy())
    counts = []
    for epoch in range(2):
        logs = {}
        bad.on_epoch_end(epoch, logs)
        counts.append(logs["bad_images"])
    assert counts == [2, 3]
    text = capsys.readouterr().out
    assert "2 images are bad:\na.jpg\nc.jpg\n" in text
    assert "1 images are bad:\nd.jpg\n" in text and text.count("c.jpg") == 1


def annotations(*numbers, with_masks=()):
    images, drawable = (
        [types.SimpleNamespace(labels=n * [0]) for n in of_images]
        for of_images in (numbers, with_masks)
    )
    return types.SimpleNamespace(
        images=images, images_with_masks=drawable, path="truth.json"
    )


def test_steps_are_those_of_images_with_objects():
    recipe = training.CocoRecipe(batch_size=4, accumulation_steps=2)
    assert fitting.count_steps(annotations(1, 0, 2, 1, 0, 1, 3), recipe) == 2


def test_fewer_images_than_a_batch_has_are_refused():
    recipe = training.CocoRecipe(batch_size=3)
    assert fitting.count_steps(annotations(1, 1, 1), recipe) == 1
    with pytest.raises(ValueError, match="batch_size=3, 2 images .*truth.json"):
        fitting.count_steps(annotations(1, 0, 1), recipe)


@pytest.mark.parametrize(
    "detector, steps", [("faster_rcnn", 3), ("mask_rcnn", 2)]
)
def test_objects_without_masks_count_where_masks_are_not_learnt(
    detector, steps
):
    recipe = training.CocoRecipe(detector=detector, batch_size=1)
    truth = annotations(1, 1, 2, with_masks=(1, 0, 1))
    assert fitting.count_steps(truth, recipe) == steps


class Listed(keras.callbacks.Callback):
    """Logs one number after the other."""

    def __init__(self, *values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_AP"] = self.values[epoch]


NAN = float("nan")


@pytest.mark.parametrize(
    "values, patience, epochs, best",
    [
        ((0.1, 0.2, 0.15, 0.1, 0.9), None, 5, 5),
        ((0.1, 0.2, 0.15, 0.1, 0.9), 2, 4, 2),
        ((0.1, 0.2, 0.15, 0.3, 0.1), 2, 5, 4),
        # Epochs that are not evaluated are not better ones.
        ((NAN, 0.2, NAN, 0.3, NAN), 2, 5, 4),
        ((NAN, 0.2, NAN, 0.1, 0.9), 2, 4, 2),
        ((NAN, NAN, NAN, NAN, 0.1), 1, 5, 5),
    ],
)
def test_a_training_that_gets_no_better_ends(
    train, values, patience, epochs, best
):
    options = {"epochs": 5, "patience": patience}
    run = train("run", evaluator=Listed(*values), **options)
    assert run.state.step == epochs * STEPS and len(log(run)) == epochs
    assert run.state.best_step == best * STEPS
    assert run.folder.steps()[-1] <= best * STEPS
    # It has ended: the same command does not train it again.
    again = train("run", evaluator=Listed(), **options)
    assert again.state.step == epochs * STEPS and len(log(again)) == epochs
