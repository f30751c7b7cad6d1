import argparse
import types

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet
from keras_epsanet.training import ImageNetRecipe, Recipe, trained_start

SIZES = {"reduction": 4, "input_shape": (32, 32, 3), "classes": 3}


def test_a_source_is_a_file_or_a_public_name(tmp_path):
    file = tmp_path / "resnet.pth"
    with pytest.raises(ValueError, match="no file .*resnet.pth. Received"):
        trained_start.check_source(str(file))
    file.touch()
    trained_start.check_source(str(file))
    trained_start.check_source("resnet50.tv2")


def test_a_public_name_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="^--inherit resnet18: There is no"):
        trained_start.check_source("resnet18")
    trained_start.check_source("resnext")


@pytest.mark.parametrize(
    "raised, kind",
    [
        (ValueError("why"), ValueError),
        (FileNotFoundError(2, "why"), OSError),
        # Whose constructor takes five arguments.
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), ValueError),
    ],
)
def test_errors_begin_with_their_option(raised, kind):
    with pytest.raises(kind, match="^--teacher a.pth: .*why") as caught:
        with trained_start.errors_of("--teacher", "a.pth"):
            raise raised
    assert caught.value.__cause__ is raised
    with pytest.raises(KeyError):
        with trained_start.errors_of("--teacher", "a.pth"):
            raise KeyError("a mistake in the code")


def test_a_resnet_that_does_not_fit_a_network_is_refused(tmp_path):
    network = EPSANet((1,), (16,), (3, 5), (1, 4), **SIZES)
    for name, blocks in (("fits", (1,)), ("deeper", (2,))):
        resnet = EPSANet(blocks, (16,), (3,), (1,), **SIZES)
        resnet.save(tmp_path / f"{name}.keras")
    trained_start.check_network(str(tmp_path / "fits.keras"), network)
    with pytest.raises(ValueError, match="^--teacher .*keras: .*not fit"):
        trained_start.check_network(
            str(tmp_path / "deeper.keras"), network, "--teacher"
        )


def test_an_error_while_a_network_inherits_names_the_option():
    network = EPSANet((1,), (16,), (3, 5), (1, 4), **SIZES)
    tf = pytest.importorskip("tensorflow")
    images = tf.data.Dataset.from_tensor_slices(np.zeros((2, 32, 32, 3)))
    with pytest.raises(ValueError, match="^--inherit gone.pth: There is no"):
        trained_start.inherit(network, "gone.pth", images, Recipe(), 32)


def test_a_source_of_another_option_is_named_by_it():
    with pytest.raises(ValueError, match="--teacher must .*: --teacher gone"):
        trained_start.check_source("gone", "--teacher")


def test_a_frozen_backbone_needs_a_start(tmp_path):
    frozen = Recipe(freeze=True)
    with pytest.raises(ValueError, match="needs --weights or --inherit"):
        trained_start.check_start(tmp_path, frozen, None)
    # Only what a command has is named.
    with pytest.raises(ValueError, match="trained needs --inherit. Received"):
        trained_start.check_start(tmp_path, frozen, None, ["--inherit"])
    trained_start.check_start(tmp_path, frozen, "--inherit resnext")
    trained_start.check_start(tmp_path, Recipe(), None)


def test_a_training_that_had_a_start_does_not_begin_without(tmp_path):
    run = types.SimpleNamespace(path=str(tmp_path), is_chief=True)
    trained_start.note_start(run, "resnext", "Initialized from ResNeXt.")
    with pytest.raises(ValueError, match="Give --inherit resnext again"):
        trained_start.check_start(tmp_path, Recipe(), None)
    trained_start.check_start(tmp_path, Recipe(), "--inherit resnext")


@pytest.mark.parametrize(
    "size, number", [(48, 512), (224, 512), (225, 507), (448, 128), (9999, 1)]
)
def test_larger_images_are_fewer(size, number):
    assert trained_start.count_fitted_images(size) == number


@pytest.mark.parametrize(
    "epochs, warm_up", [(120, 5), (25, 5), (10, 2), (1, 0.2)]
)
def test_a_recipe_for_trained_weights_is_gentle(epochs, warm_up):
    recipe = ImageNetRecipe(epochs=epochs)
    found = trained_start.adapt_recipe(recipe, argparse.Namespace())
    assert found == ImageNetRecipe(
        epochs=epochs, learning_rate=0.01, warm_up_epochs=warm_up
    )


def test_what_is_given_is_not_made_gentle():
    given = argparse.Namespace(learning_rate=0.3, warm_up_epochs=1)
    recipe = ImageNetRecipe().with_options(given)
    assert trained_start.adapt_recipe(recipe, given) == recipe


@pytest.mark.parametrize("is_chief", [True, False])
def test_the_chief_notes_what_a_training_started_from(tmp_path, is_chief):
    run = types.SimpleNamespace(path=str(tmp_path), is_chief=is_chief)
    trained_start.note_start(run, "resnext", "Initialized from ResNeXt.")
    note = tmp_path / trained_start.INITIALIZED_FROM
    assert note.exists() == is_chief
    if is_chief:
        assert note.read_text() == "resnext\nInitialized from ResNeXt.\n"


def test_a_network_is_fitted_to_the_first_images(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    source = EPSANet((1,), (16,), (3,), (1,), **SIZES)
    images = np.random.default_rng(0).normal(size=(6, 32, 32, 3))
    dataset = tf.data.Dataset.from_tensor_slices(images.astype("float32"))
    networks = [EPSANet((1,), (16,), (3, 5), (1, 4), **SIZES) for _ in "ab"]
    # What nothing is inherited for, the attention's first stage.
    networks[1].set_weights(networks[0].get_weights())
    monkeypatch.setattr(trained_start, "count_fitted_images", lambda size: 4)
    shared = []
    monkeypatch.setattr(
        trained_start, "share_means", lambda *given: shared.append(given)
    )
    for network, given in zip(networks, (dataset, dataset.take(4))):
        inherited = trained_start.inherit(
            network, source, given, Recipe(seed=3), 32
        )
    assert list(inherited.fitted) == ["conv2_block1_psa"]
    # Workers may have rounded otherwise.
    assert shared[-1] == (networks[1], networks[1].variables)
    for ours, theirs in zip(*(n.get_weights() for n in networks)):
        np.testing.assert_array_equal(ours, theirs)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from keras_epsanet import EPSANet
from keras_epsanet.training import Recipe, trained_start

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 3 * [tf.config.LogicalDeviceConfiguration()]
)
sizes = {"reduction": 4, "input_shape": (32, 32, 3), "classes": 3}
source = EPSANet((1,), (16,), (3,), (1,), **sizes)
strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(3)])
with strategy.scope():
    network = EPSANet((1,), (16,), (3, 5), (1, 4), **sizes)
plain = EPSANet((1,), (16,), (3, 5), (1, 4), **sizes)
plain.set_weights(network.get_weights())
x = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
images = tf.data.Dataset.from_tensor_slices(x)
trained_start.inherit(network, source, images, Recipe(), 32)
trained_start.inherit(plain, source, images, Recipe(), 32)
for mirrored, expected in zip(network.variables, plain.variables):
    parts = strategy.experimental_local_results(mirrored.value)
    assert len(parts) == 3
    for part in parts:
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_all_replicas_start_alike(run_python):
    run_python(MIRRORED)


def test_a_training_is_told_to_take_its_weights_again(tmp_path):
    run = types.SimpleNamespace(path=str(tmp_path), is_chief=True)
    trained_start.note_start(run, "start.keras")
    with pytest.raises(ValueError, match="Give --weights start.keras again"):
        trained_start.check_start(tmp_path, Recipe(), None)


def test_options_reach_what_is_inherited(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    asked = []

    def inherit_weights(model, source, images, seed, verbose):
        shapes = [tuple(x.shape) for x in images]
        asked.append((model, source, shapes, seed, verbose))
        return "inherited"

    monkeypatch.setattr(trained_start, "inherit_weights", inherit_weights)
    monkeypatch.setattr(trained_start, "share_means", lambda *_: None)
    model = types.SimpleNamespace(variables=[])
    images = tf.data.Dataset.range(200)
    for size, verbose in ((400, True), (224, False)):
        found = trained_start.inherit(
            model, "resnext", images, Recipe(seed=3), size, verbose
        )
        assert found == "inherited"
    # Of larger images fewer are taken.
    some, all_of_them = [5 * [(32,)], 6 * [(32,)] + [(8,)]]
    assert asked == [
        (model, "resnext", some[:5], 3, True),
        (model, "resnext", all_of_them, 3, False),
    ]
