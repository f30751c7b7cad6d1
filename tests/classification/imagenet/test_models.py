import dataclasses

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, data, preprocess_input
from keras_epsanet.classification.imagenet import models
from keras_epsanet.classification.imagenet.smoke import SMOKE
from keras_epsanet.classification.models import tiny

if keras.backend.backend() != "tensorflow":
    pytest.skip("ImageNet is read by TensorFlow", allow_module_level=True)


def test_pixels_are_normalized_as_those_of_imagenet(monkeypatch):
    monkeypatch.setitem(
        models.MODELS,
        "tiny",
        lambda input_shape, **_: keras.Sequential([keras.Input(input_shape)]),
    )
    _, model = models.build_model(SMOKE, 10)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    images = images.astype("float32")
    np.testing.assert_allclose(
        model(images), preprocess_input(images), rtol=0, atol=1e-5
    )


def test_a_frozen_backbone_leaves_the_classifier_to_train():
    recipe = dataclasses.replace(SMOKE, freeze=True)
    _, model = models.build_model(recipe, 10)
    names = [weight.name for weight in model.trainable_weights]
    assert names == ["kernel", "bias"]


def test_all_but_the_classifier_has_the_rate_of_the_backbone():
    recipe = dataclasses.replace(SMOKE, backbone_rate=0.25)
    _, model = models.build_model(recipe, 10)
    models.compile_model(model, recipe, 4)
    scaled = dict(model.optimizer.get_config()["scaled_rates"])
    assert len(scaled) == len(model.trainable_weights) - 2
    assert not any("predictions" in path for path in scaled)


def test_a_teacher_sees_the_same_pixels(tmp_path):
    source = EPSANet(
        (1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=10
    )
    source.save(tmp_path / "resnet.keras")
    path = str(tmp_path / "resnet.keras")
    recipe = dataclasses.replace(SMOKE, teacher=path, teacher_share=0.25)
    network, model = models.build_model(recipe, 10)
    distiller = models.with_teacher(network, model, recipe)
    assert distiller.student is model
    assert distiller.student_loss_weight == 0.75
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    np.testing.assert_allclose(
        keras.ops.softmax(distiller.teacher(images.astype("float32"))),
        source(preprocess_input(images.astype("float32"))),
        rtol=1e-4,
        atol=1e-6,
    )
    plain = dataclasses.replace(SMOKE)
    assert models.with_teacher(network, model, plain) is model


@pytest.mark.large
def test_the_recipe_overfits_64_images(monkeypatch):
    # Not the smaller one of the other tests.
    monkeypatch.setitem(models.MODELS, "tiny", tiny)
    recipe = dataclasses.replace(
        SMOKE, epochs=40, decay_epochs=10, learning_rate=0.8
    )
    keras.utils.set_random_seed(recipe.seed)
    images = data.fashion_mnist("train").take(64).batch(64)
    x, y = next(images.as_numpy_iterator())
    x = np.pad(np.repeat(x, 3, axis=-1), ((0, 0), (2, 2), (2, 2), (0, 0)))
    y = np.eye(10)[y]
    _, model = models.build_model(recipe, 10)
    models.compile_model(model, recipe, steps_per_epoch=4)
    model.fit(x, y, batch_size=16, epochs=recipe.epochs, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["top1"] == 1.0


def test_logits_are_in_float32_and_the_rest_as_the_recipe_says():
    recipe = dataclasses.replace(
        SMOKE, precision="mixed_bfloat16", sync_bn=True
    )
    network, model = models.build_model(recipe, 10)
    assert network.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert network.get_layer("conv1_bn").synchronized
    assert model.output.dtype == "float32" and model.name == "tiny"


def test_losses_and_accuracies_are_those_of_logits():
    _, model = models.build_model(SMOKE, 10)
    models.compile_model(model, SMOKE, 4)
    images = np.zeros((2, 32, 32, 3), "float32")
    found = model.evaluate(images, np.eye(10)[:2], verbose=0, return_dict=True)
    assert set(found) == {"loss", "top1", "top5"}
    assert model.loss.from_logits and model.loss.label_smoothing == 0.1
