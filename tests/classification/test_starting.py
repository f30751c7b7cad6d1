import functools
import types

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, training
from keras_epsanet.classification import batches, models, starting
from keras_epsanet.classification.sources import Images
from keras_epsanet.training import trained_start

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)

import tensorflow as tf


@pytest.fixture
def images(dataset):
    return Images(dataset(8), dataset(4), "noise")


def test_several_workers_are_refused_before_they_wait(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(training, "make_strategy", pytest.fail)
    with pytest.raises(ValueError, match="A classifier runs on one mach.*=2"):
        starting.make_strategy()


def start(path, recipe, images, weights=None, inherit=None):
    strategy = tf.distribute.get_strategy()
    return starting.start(
        str(path), recipe(), images, weights, inherit, strategy
    )


def save(started, step):
    started.model.optimizer.build(started.model.trainable_variables)
    started.state.step = step
    started.run.save(started.model, started.state, started.average)


def test_a_training_that_goes_on_needs_its_first_weights_no_more(
    tmp_path, recipe, images
):
    weights = tmp_path / "start.weights.h5"
    first = start(tmp_path / "run", recipe, images)
    first.classifier.get_layer("conv1_conv").kernel.assign_add(
        keras.ops.ones_like(first.classifier.get_layer("conv1_conv").kernel)
    )
    save(first, step=2)
    # A file that is gone, or was never there.
    again = start(tmp_path / "run", recipe, images, str(weights))
    assert again.state.step == 2
    for ours, theirs in zip(
        again.classifier.get_weights(), first.classifier.get_weights()
    ):
        assert (ours == theirs).all()
    with pytest.raises(ValueError, match="no file"):
        start(tmp_path / "other", recipe, images, str(weights))


def test_a_training_that_goes_on_has_its_average_again(
    tmp_path, recipe, images
):
    def begin():
        return start(tmp_path, lambda: recipe(ema=0.9), images)

    first = begin()
    for variable in first.average.variables:
        variable.assign(variable + 1)
    save(first, step=2)
    again = begin()
    pairs = zip(again.average.variables, first.average.variables, strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def contents(path):
    """All files of a folder, but for who has locked it."""
    return {
        file: file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def test_a_training_that_is_refused_stays_as_it_is(
    tmp_path, recipe, images, dataset
):
    save(start(tmp_path, recipe, images), step=2)
    before = contents(tmp_path)
    others = Images(dataset(20), dataset(4), "elsewhere")
    with pytest.raises(ValueError, match="on other data"):
        start(tmp_path, lambda: recipe(epochs=9), others)
    assert contents(tmp_path) == before
    start(tmp_path, lambda: recipe(epochs=9), images)
    assert training.read_recipe(tmp_path, type(recipe())) == recipe(epochs=9)


def test_a_training_goes_on_with_its_teacher_only(
    tmp_path, monkeypatch, recipe, images
):
    path, run = tmp_path / "teacher.keras", tmp_path / "run"

    def write_teacher(filters):
        with monkeypatch.context() as patch:
            network = functools.partial(
                EPSANet, (1,), (filters,), (3, 5), (1, 4), reduction=4
            )
            patch.setitem(models.MODELS, "tiny", network)
            models.build_classifier(recipe(), images.class_names).save(path)

    def begin(teacher):
        return start(run, lambda: recipe(teacher=str(teacher)), images)

    write_teacher(16)
    save(begin(path), step=2)
    moved = path.rename(tmp_path / "moved.keras")
    assert begin(moved).state.step == 2
    found = training.read_recipe(run, type(recipe()))
    assert found == recipe(teacher=str(moved))
    before = contents(run)
    write_teacher(32)
    with pytest.raises(ValueError):
        begin(path)
    assert contents(run) == before


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Path of a ResNet of the depth and width of `tiny`."""
    source = EPSANet(
        (1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=7, reduction=4
    )
    path = tmp_path_factory.mktemp("source") / "resnet.keras"
    source.save(path)
    return source, str(path)


def test_a_classifier_inherits_and_is_fitted_to_its_images(
    tmp_path, recipe, images, resnet, capsys
):
    source, path = resnet
    started = start(tmp_path, recipe, images, inherit=path)
    text = capsys.readouterr().out
    assert "Initialized from ResNet" in text and "1 module fitted" in text
    np.testing.assert_array_equal(
        started.classifier.get_layer("conv1_conv").kernel,
        source.get_layer("conv1_conv").kernel,
    )
    note = (tmp_path / trained_start.INITIALIZED_FROM).read_text()
    assert note.startswith(path) and "Initialized from ResNet" in note
    last = started.classifier.get_layer("conv2_block1_3_bn")
    assert keras.ops.convert_to_numpy(last.gamma).all()


def test_a_training_that_goes_on_does_not_inherit(tmp_path, recipe, images):
    save(start(tmp_path, recipe, images), step=2)
    again = start(tmp_path, recipe, images, inherit="gone.pth")
    assert again.state.step == 2 and again.goes_on
    assert not (tmp_path / trained_start.INITIALIZED_FROM).exists()
    with pytest.raises(ValueError, match="no file gone.pth"):
        start(tmp_path / "other", recipe, images, inherit="gone.pth")


def test_without_a_best_epoch_what_is_left_is_evaluated(
    tmp_path, recipe, images
):
    started = start(tmp_path / "run", recipe, images)
    save(started, step=2)
    assert started.state.best_value is None
    evaluation = batches.evaluation_batches(images.held_out, recipe())
    starting.take_best(
        started, images.train, evaluation, tf.distribute.get_strategy()
    )
    assert 0 <= started.state.best_value <= 1


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path, recipe, images):
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    with pytest.raises(ValueError, match="number of devices, 3: 3 or 6"):
        starting.start(
            str(tmp_path / "run"), recipe(), images, None, None, strategy
        )
    # What is divided is the part of a batch that a step takes.
    with pytest.raises(ValueError, match="Received: batch_size=2"):
        options = recipe(batch_size=6, accumulation_steps=3)
        starting.start(
            str(tmp_path / "run"), options, images, None, None, strategy
        )
    assert not (tmp_path / "run").exists()


def test_other_backends_train_on_one_device(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(training, "make_strategy", pytest.fail)
    assert starting.make_strategy() is tf.distribute.get_strategy()


@pytest.mark.parametrize("value", [None, 0.5])
def test_the_best_weights_come_before_their_statistics(monkeypatch, value):
    calls = []
    for name in ("restore_best", "note_best", "recalibrate"):
        monkeypatch.setattr(
            starting.fitting,
            name,
            lambda *x, name=name: calls.append((name, x)),
        )
    run = types.SimpleNamespace(recipe="recipe")
    state = training.State(best_value=value)
    started = starting.Started(None, "model", run, "average", state, False)
    strategy = tf.distribute.get_strategy()
    starting.take_best(started, "images", "held out", strategy)
    lost = [("note_best", ("model", state, "held out"))]
    assert calls == [
        ("restore_best", ("model", "average", run, state)),
        *(lost if value is None else []),
        ("recalibrate", ("model", "images", "recipe", state, "held out")),
    ]
