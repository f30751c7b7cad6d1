import dataclasses
import shutil

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, preprocess_input
from keras_epsanet.classification.imagenet import smoke, starting
from keras_epsanet.data import imagenet
from keras_epsanet.training import trained_start

if keras.backend.backend() != "tensorflow":
    pytest.skip("ImageNet is read by TensorFlow", allow_module_level=True)

import tensorflow as tf

RECIPE = dataclasses.replace(smoke.SMOKE, batch_size=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images"
    smoke.write_images(str(path), train=40, val=40)
    return imagenet.open_source(str(path))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    network = EPSANet(
        (1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=10
    )
    path = tmp_path_factory.mktemp("resnet") / "resnet.keras"
    network.save(path)
    return str(path), network


def start(path, source, inherit=None):
    strategy = tf.distribute.get_strategy()
    return starting.start(path, RECIPE, source, inherit, strategy, 5)


def test_a_network_inherits_and_is_fitted_to_normalized_images(
    tmp_path, monkeypatch, source, resnet
):
    path, theirs = resnet
    seen = []
    inherit = trained_start.inherit

    def note(network, source, images, *others):
        seen.append(next(images.batch(8).as_numpy_iterator()))
        return inherit(network, source, images, *others)

    monkeypatch.setattr(trained_start, "inherit", note)
    network, model, _, average, state = start(tmp_path, source, path)
    assert average is None and state.step == 0
    np.testing.assert_array_equal(
        network.get_layer("predictions").kernel,
        theirs.get_layer("predictions").kernel,
    )
    note = (tmp_path / trained_start.INITIALIZED_FROM).read_text()
    assert note.startswith(path) and "1 module fitted" in note
    (shown,) = seen
    lowest, highest = preprocess_input(np.float32([[[[0] * 3]], [[[255] * 3]]]))
    assert shown.shape == (8, 32, 32, 3)
    assert (lowest - 1e-3 <= shown).all() and (shown <= highest + 1e-3).all()
    assert shown.min() < -1 and shown.max() > 1


def test_a_training_that_goes_on_does_not_inherit(tmp_path, source):
    network, model, run, _, state = start(tmp_path, source)
    kernel = network.get_layer("predictions").kernel
    kernel.assign_add(keras.ops.ones_like(kernel))
    model.optimizer.build(model.trainable_variables)
    state.step = 3
    run.save(model, state)
    del run
    again, *_, state = start(tmp_path, source, "gone.pth")
    assert state.step == 3
    np.testing.assert_array_equal(again.get_layer("predictions").kernel, kernel)
    assert not (tmp_path / trained_start.INITIALIZED_FROM).exists()


def test_a_training_goes_on_with_its_teacher_by_any_path(
    tmp_path, monkeypatch, source, resnet
):
    other = tmp_path / "other.keras"
    EPSANet((1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=10).save(
        other
    )
    copy = shutil.copy(resnet[0], tmp_path / "copy.keras")
    folder = tmp_path / "run"

    def begin(teacher):
        recipe = dataclasses.replace(RECIPE, teacher=str(teacher))
        strategy = tf.distribute.get_strategy()
        return starting.start(folder, recipe, source, None, strategy, 5)

    _, model, run, _, state = begin(resnet[0])
    model.optimizer.build(model.trainable_variables)
    state.step = 3
    run.save(model, state)
    del run
    *_, state = begin(copy)
    assert state.step == 3
    before = (folder / "recipe.json").read_text()
    assert str(copy) in before
    with pytest.raises(ValueError, match="Received: teacher: .*other.keras"):
        begin(other)
    assert (folder / "recipe.json").read_text() == before


def test_a_teacher_that_does_not_fit_leaves_no_folder(
    tmp_path, monkeypatch, source, resnet
):
    network = EPSANet(
        (1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=7
    )
    path = tmp_path / "seven.keras"
    network.save(path)
    recipe = dataclasses.replace(RECIPE, teacher=str(path))
    monkeypatch.setattr(starting, "_inherit", lambda *_: "Initialized")
    with pytest.raises(ValueError, match="with 7 classes"):
        starting.start(
            tmp_path / "run",
            recipe,
            source,
            resnet[0],
            tf.distribute.get_strategy(),
            5,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verbose", [True, False])
def test_options_reach_what_is_inherited(verbose, monkeypatch):
    seen = []

    def note(*given, **options):
        seen.append((given, options))
        images = np.zeros((2, 1, 1, 3), "uint8")
        return tf.data.Dataset.from_tensors((images, [0, 1]))

    monkeypatch.setattr(imagenet, "training_batches", note)
    monkeypatch.setattr(
        trained_start, "inherit", lambda *given: seen.append(given)
    )
    recipe = dataclasses.replace(RECIPE, seed=5, antialias=False)
    starting._inherit("network", "resnet", "data", recipe, verbose)
    options = {"image_size": 32, "seed": 5, "antialias": False}
    assert seen[0] == (("data", 4), options)
    network, resnet, images, *others = seen[1]
    assert (network, resnet, *others) == (
        *("network", "resnet"),
        *(recipe, 32, verbose),
    )
    assert images.element_spec.shape == (1, 1, 3)
