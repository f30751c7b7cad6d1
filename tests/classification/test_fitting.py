import csv
import types
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.classification import fitting, models, run_folder
from keras_epsanet.classification.batches import (
    evaluation_batches,
    steps_per_epoch,
)
from keras_epsanet.classification.sources import Images
from keras_epsanet.graph.recalibrate import recalibrate_batch_norm
from keras_epsanet.training import make_average

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)


def plain(weights, input_tensor, classes, **_):
    """A network of a few operations, for here the training is what counts."""
    x = keras.layers.AveragePooling2D(4)(input_tensor)
    x = keras.layers.Conv2D(4, 3, name="conv1_conv")(x)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, name="predictions")(x)
    network = keras.Model(keras.utils.get_source_inputs(input_tensor), x)
    if weights is not None:
        source = keras.saving.load_model(weights, compile=False)
        network.set_weights(source.get_weights())
    return network


@pytest.fixture(autouse=True)
def plain_network(monkeypatch, smallest_network):
    monkeypatch.setitem(models.MODELS, "tiny", plain)


def arrays(variables):
    return [keras.ops.convert_to_numpy(x) for x in variables]


class Trained(NamedTuple):
    """What a training ends with."""

    classifier: object
    model: object
    average: object
    folder: object
    state: object

    def values(self):
        average = self.average.variables if self.average else []
        variables = (*self.model.weights, *self.model.optimizer.variables)
        return arrays([*variables, *average])


class Never:
    requested = False


class After:
    """Is interrupted after a step."""

    def __init__(self, state, step):
        self.state, self.step = state, step

    @property
    def requested(self):
        return self.state.step >= self.step


@pytest.fixture
def train(tmp_path, recipe, dataset):
    """Function that trains 10 images in a folder, up to a step or the end."""
    images = Images(dataset(10), dataset(5), "noise")

    def run(name, stop=None, weights=None, **fields):
        options = recipe(**fields)
        path = tmp_path / name
        keras.utils.set_random_seed(0)
        classifier = models.build_classifier(
            options, images.class_names, weights
        )
        steps = steps_per_epoch(images.train, options)
        model = models.compile_trained_part(classifier, options, steps)
        model.run_eagerly = True  # To trace it would take longer.
        folder = run_folder.open_run(path, options)
        average = make_average(model, options)
        state = folder.restore(model, steps, average=average)
        evaluation = evaluation_batches(images.held_out, options)
        if weights is not None and not state.step:
            fitting.keep_start(model, average, folder, state, evaluation)
        interruption = Never() if stop is None else After(state, stop)
        trained = Trained(classifier, model, average, folder, state)
        try:
            fitting.fit(
                model,
                average,
                images.train,
                evaluation,
                folder,
                state,
                interruption,
                100,
            )
        except SystemExit:
            assert stop is not None
        return trained

    return run


def log(folder):
    with open(f"{folder.path}/log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("images_per_second", "input_wait", "timed_steps")
    return [{k: v for k, v in x.items() if k not in timed} for x in rows]


def assert_same(found, expected):
    """Compares weights, optimizer and average of two trainings."""
    for ours, theirs in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("stops", [(1, 3, 5), (1,)], ids=str)
def test_a_training_goes_on_as_if_it_had_not_stopped(train, ema, stops):
    fields = {"flip": True, "ema": ema}
    whole = train("whole", **fields)
    # In an epoch, at its end, and in the next; or in the first one alone.
    for stop in stops:
        assert train("part", stop=stop, **fields).state.step == stop
    part = train("part", **fields)
    assert part.state.step == 6
    assert_same(part, whole)
    assert log(part.folder) == log(whole.folder)
    assert [row["epoch"] for row in log(whole.folder)] == ["0", "1"]


def test_a_finished_training_goes_on_with_more_epochs(train):
    train("run", schedule="step")
    longer = train("run", schedule="step", epochs=3)
    assert longer.state.step == 9 and len(log(longer.folder)) == 3
    assert_same(longer, train("whole", schedule="step", epochs=3))


def test_the_best_epoch_is_restored_with_its_average(train):
    run = train("run", epochs=3, learning_rate=0.5, ema=0.5)
    best = max(log(run.folder), key=lambda row: float(row["val_top1"]))
    assert run.state.best_step == 3 * (int(best["epoch"]) + 1)
    run.state.best_step = run.folder.steps()[-1]
    fitting.restore_best(run.model, run.average, run.folder, run.state)
    weights = arrays(run.classifier.weights)
    for weight, average in zip(weights, arrays(run.average.variables)):
        np.testing.assert_array_equal(weight, average)
    # Not the weights with which the training would go on.
    run.folder.restore(run.model, 3, step=run.state.best_step)
    assert (run.classifier.weights[0].numpy() != weights[0]).any()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_fine_tuning_never_ends_below_its_start(train, tmp_path, ema):
    classifier = train("first").classifier
    classifier.save(tmp_path / "start.keras")
    start = arrays(classifier.weights)
    run = train("second", weights=tmp_path / "start.keras", epochs=1, ema=ema)
    after = arrays(run.classifier.weights)
    assert any((x != y).any() for x, y in zip(after, start))
    run.state.best_step = 0  # Whatever it was.
    run.folder.restore(run.model, 3, average=run.average)
    fitting.restore_best(run.model, run.average, run.folder, run.state)
    restored = arrays(run.classifier.weights)
    for weight, expected in zip(restored, start, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_start_is_the_best_until_an_epoch_is_better(train, tmp_path):
    train("first").classifier.save(tmp_path / "start.keras")
    fields = {"weights": tmp_path / "start.keras", "epochs": 1}
    run = train("second", stop=1, **fields)
    start = run.state.best_value
    assert run.state.best_step == 0 and run.folder.steps() == [1, 0]
    run = train("second", **fields)
    better = float(log(run.folder)[0]["val_top1"]) > start
    assert run.state.best_step == (3 if better else 0)


def test_patience_ends_a_training_that_gets_no_better(train):
    # A rate of nearly nothing: the first epoch is the best.
    fields = {"epochs": 9, "patience": 2, "learning_rate": 1e-30}
    run = train("run", **fields)
    assert run.state.step == 9 and len(log(run.folder)) == 3
    assert train("run", **fields).state.step == 9


@pytest.mark.parametrize("better", [True, False])
def test_statistics_are_taken_anew_if_that_helps(
    monkeypatch, train, dataset, recipe, better, capsys
):
    trained = train("run")
    options, images = (
        recipe(recalibration_steps=2),
        Images(dataset(10), dataset(5), "noise"),
    )
    expected = keras.models.clone_model(trained.model)
    expected.set_weights(trained.model.get_weights())
    batches = fitting.training_batches(images.train, options)
    recalibrate_batch_norm(expected, batches, 2)
    before, after = trained.model.get_weights(), expected.get_weights()
    assert any((a != b).any() for a, b in zip(before, after))
    value = trained.state.best_value + (0.125 if better else -0.125)
    monkeypatch.setattr(fitting, "_evaluate", lambda *_: value)
    evaluation = evaluation_batches(images.held_out, options)
    fitting.recalibrate(
        trained.model, images.train, options, trained.state, evaluation
    )
    wanted = after if better else before
    for found, array in zip(trained.model.get_weights(), wanted):
        np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-7)
    assert (trained.state.best_value == value) == better
    assert f"2 batches: held-out top-1 {value:.2%}" in capsys.readouterr().out


def test_statistics_are_left_unless_the_recipe_asks(train, recipe):
    trained = train("run")
    before = trained.values()
    fitting.recalibrate(trained.model, None, recipe(), trained.state, None)
    for found, array in zip(trained.values(), before):
        np.testing.assert_array_equal(found, array)


def test_a_training_with_a_teacher_goes_on_as_if_it_had_not_stopped(
    monkeypatch, train
):
    monkeypatch.setattr(
        models.distillation,
        "read_teacher",
        lambda source, student, names: keras.models.clone_model(student),
    )
    fields = {"teacher": "teacher.keras", "ema": 0.5}
    whole = train("whole", **fields)
    for stop in (1, 3):
        train("part", stop=stop, **fields)
    part = train("part", **fields)
    # The teacher of the test is another one each time it is read.
    for ours, theirs in zip(
        part.model.student.weights, whole.model.student.weights
    ):
        assert ours.shape == theirs.shape
    assert part.state.step == 6 and len(log(part.folder)) == 2
    assert float(log(part.folder)[0]["distillation_loss"]) >= 0


def test_what_fit_is_told(tmp_path, monkeypatch, recipe):
    asked = []

    class Model:
        def fit(self, given, **options):
            asked.append((given, options))
            state.step = 6

    def make_batches(dataset, recipe, first_step):
        return f"batches of {dataset} from {first_step}"

    monkeypatch.setattr(fitting, "training_batches", make_batches)
    monkeypatch.setattr(
        fitting.training, "timed_input", lambda batches: (batches, "waited")
    )
    options = recipe(batch_size=4, accumulation_steps=2, patience=1)
    run = types.SimpleNamespace(
        path=str(tmp_path), recipe=options, claim=None, is_chief=True
    )
    state = training.State(step=3, steps_per_epoch=3)
    average = keras.callbacks.Callback()
    fitting.fit(
        Model(), average, "images", "held out", run, state, "interruption", 7
    )
    ((given, told),) = asked
    assert given == "batches of images from 3"
    first, log, table, events, saving, end = told.pop("callbacks")
    assert first is average
    assert (log.batch_size, log.waited) == (2, "waited")
    assert log.schedule.steps_per_epoch == 3
    assert table.filename == f"{tmp_path}/log.csv"
    assert events.folder == f"{tmp_path}/tensorboard"
    assert isinstance(saving, training.Checkpointing)
    assert (saving.run, saving.state, saving.average) == (run, state, average)
    assert (saving.interval, saving.preemption) == (7, "interruption")
    # Behind what keeps the state up to date.
    assert isinstance(end, fitting.EndEarly) and end.state is state
    assert told == {
        "initial_epoch": 1,
        "epochs": 2,
        "steps_per_epoch": 3,
        "validation_data": "held out",
        "shuffle": False,
    }


def test_the_held_out_images_say_what_is_the_best():
    class Model:
        def evaluate(self, batches, **options):
            assert batches == "held out"
            return {"loss": 3.0, "top1": 0.25, "top5": 0.5}

    state = training.State(step=6, steps_per_epoch=3)
    fitting.note_best(Model(), state, "held out")
    assert (state.best_step, state.best_value) == (6, 0.25)
