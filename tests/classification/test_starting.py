import keras
import pytest

from keras_epsanet import training
from keras_epsanet.classification import batches, starting
from keras_epsanet.classification.sources import Images

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)

import tensorflow as tf


@pytest.fixture
def images(dataset):
    return Images(dataset(8), dataset(4), "noise")


def test_several_workers_are_refused(monkeypatch):
    class Workers(tf.distribute.MultiWorkerMirroredStrategy):
        def __init__(self):
            pass

    monkeypatch.setenv("TF_CONFIG", '{"cluster": {}}')
    monkeypatch.setattr(training, "make_strategy", Workers)
    with pytest.raises(ValueError, match='one machine. Received: TF_CONFIG={"'):
        starting.make_strategy()


def start(path, recipe, images, weights=None):
    strategy = tf.distribute.get_strategy()
    return starting.start(str(path), recipe(), images, weights, strategy)


def save(started, step):
    started.model.optimizer.build(started.model.trainable_variables)
    started.state.step = step
    started.run.save(started.model, started.state)


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


def test_without_a_best_epoch_what_is_left_is_evaluated(
    tmp_path, recipe, images
):
    started = start(tmp_path / "run", recipe, images)
    save(started, step=2)
    assert started.state.best_value is None
    evaluation = batches.evaluation_batches(images.held_out, recipe())
    starting.take_best(started, evaluation, tf.distribute.get_strategy())
    assert 0 <= started.state.best_value <= 1
