import dataclasses
import types

import keras
import numpy as np
import pytest
import small_detectors

from keras_epsanet import EPSANet, training
from keras_epsanet.detection import RetinaNet, from_recipe, starting
from keras_epsanet.training import trained_start

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)

import tensorflow as tf

RECIPE = training.CocoRecipe(
    image_size=48, longer_side=64, batch_size=2, warm_up_steps=0
)
ANNOTATIONS = types.SimpleNamespace(class_names=["hat", "bag"])


@pytest.fixture
def detector(monkeypatch):
    """Makes small detectors, from batches of two images of other sizes."""
    random = np.random.default_rng(0)
    images = random.normal(size=(4, 64, 64, 3)).astype("float32")
    sizes = np.array([[48, 64], [60, 48], [20, 30], [64, 64]], "int32")
    for image, (height, width) in zip(images, sizes):
        image[height:] = image[:, width:] = 99.0  # What pads them.
    batches = tf.data.Dataset.from_tensor_slices(
        {"images": images, "image_size": sizes}
    ).batch(2)
    monkeypatch.setattr(from_recipe, "make_batches", lambda *_: batches)
    monkeypatch.setattr(
        from_recipe,
        "make_detector",
        lambda *_, **__: small_detectors.make_detector(RetinaNet),
    )
    return images


def start(path, inherit=None):
    strategy = tf.distribute.get_strategy()
    return starting.start(
        str(path), RECIPE, ANNOTATIONS, None, inherit, strategy, 10
    )


@pytest.fixture
def resnet(tmp_path):
    network = EPSANet(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        (3,),
        (1,),
        reduction=4,
        input_shape=(32, 32, 3),
        classes=5,
    )
    path = str(tmp_path / "resnet.keras")
    network.save(path)
    return path, network


def test_a_backbone_inherits_and_is_fitted_to_middles_of_images(
    tmp_path, monkeypatch, detector, resnet
):
    path, theirs = resnet
    seen = []
    inherit = trained_start.inherit

    def note(backbone, source, images, recipe, side, verbose):
        seen.append(next(images.batch(8).as_numpy_iterator()))
        return inherit(backbone, source, images, recipe, side, verbose)

    monkeypatch.setattr(trained_start, "inherit", note)
    model, run, average, state = start(tmp_path / "run", path)
    assert average is None and state.step == 0
    np.testing.assert_array_equal(
        model.backbone.get_layer("conv1_conv").kernel,
        theirs.get_layer("conv1_conv").kernel,
    )
    note = (tmp_path / "run" / trained_start.INITIALIZED_FROM).read_text()
    assert note.startswith(path) and "4 modules fitted" in note
    (shown,) = seen
    assert shown.shape == (4, 48, 48, 3) and shown.max() < 90
    np.testing.assert_array_equal(shown[0], detector[0][:48, 8:56])
    # A smaller one has the mean color around it.
    np.testing.assert_array_equal(shown[2][14:34, 9:39], detector[2][:20, :30])
    assert not shown[2][:14].any() and not shown[2][:, 39:].any()


def test_a_training_that_goes_on_does_not_inherit(tmp_path, detector):
    path = tmp_path / "run"
    model, run, _, state = start(path)
    model.optimizer.build(model.trainable_variables)
    state.step = 3
    run.save(model, state)
    del run
    *_, state = start(path, "gone.pth")
    assert state.step == 3
    assert not (path / trained_start.INITIALIZED_FROM).exists()


def test_a_source_that_does_not_fit_leaves_no_folder(tmp_path, detector):
    network = EPSANet((1,), (16,), (3,), (1,), reduction=4)
    network.save(tmp_path / "resnet.keras")
    with pytest.raises(ValueError, match="Received"):
        start(tmp_path / "run", str(tmp_path / "resnet.keras"))
    assert not (tmp_path / "run").exists()


def test_the_detector_is_made_of_the_recipe_and_the_data(
    tmp_path, monkeypatch, detector
):
    seen = []

    def make_detector(*given, **options):
        seen.append((given, options))
        return small_detectors.make_detector(RetinaNet)

    monkeypatch.setattr(from_recipe, "make_detector", make_detector)
    recipe = dataclasses.replace(RECIPE, ema=0.75)
    _, run, average, _ = starting.start(
        str(tmp_path / "run"),
        recipe,
        ANNOTATIONS,
        "classifier.keras",
        None,
        tf.distribute.get_strategy(),
        10,
    )
    names = ANNOTATIONS.class_names
    given = recipe, 2, "classifier.keras"
    assert seen == [(given, {"class_names": names})]
    assert average.decay == 0.75 and run.recipe == recipe


@pytest.mark.parametrize(
    "image_size, fixed, side",
    [(800, None, 224), (96, None, 96), (96, 128, 128)],
)
def test_middles_of_224_pixels_are_enough(
    monkeypatch, image_size, fixed, side, detector
):
    backbone = types.SimpleNamespace(
        input=types.SimpleNamespace(shape=(None, fixed, fixed, 3))
    )
    monkeypatch.setattr(from_recipe, "find_backbone", lambda model: backbone)
    monkeypatch.setattr(trained_start, "inherit", lambda *given: given)
    recipe = dataclasses.replace(
        RECIPE, image_size=image_size, longer_side=1333
    )
    found = starting._inherit("model", "source", ANNOTATIONS, recipe, False)
    assert found[:2] == (backbone, "source") and found[3:] == (
        recipe,
        side,
        False,
    )
    (image, *_) = found[2]
    assert image.shape == (side, side, 3)
