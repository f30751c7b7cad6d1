import keras
import numpy as np
import pytest

from keras_epsanet.classification import models

NAMES = ["cat", "dog", "pig"]


def test_one_model_goes_from_pixels_to_names(recipe):
    model = models.build_classifier(recipe(image_size=40), NAMES)
    random = np.random.default_rng(0)
    for shape in ((2, 50, 70, 3), (1, 32, 32, 3)):
        found = model(random.integers(0, 256, shape).astype("float32"))
        found = keras.ops.convert_to_numpy(found)
        assert found.shape == (shape[0], 3)
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    assert model.layers[-1].names == tuple(NAMES)


def test_freeze_leaves_the_classifier_alone_to_train(recipe):
    model = models.build_classifier(recipe(freeze=True), NAMES)
    names = [weight.path for weight in model.trainable_weights]
    assert names == ["predictions/kernel", "predictions/bias"]
    model = models.build_classifier(recipe(), NAMES)
    assert len(model.trainable_weights) > 10


def test_all_but_the_classifier_has_the_rate_of_the_backbone(recipe):
    settings = recipe(backbone_rate=0.25)
    model = models.compile_trained_part(
        models.build_classifier(settings, NAMES), settings, 2
    )
    scaled = dict(model.optimizer.get_config()["scaled_rates"])
    names = {weight.path for weight in model.trainable_weights}
    assert set(scaled) == names - {"predictions/kernel", "predictions/bias"}
    assert set(scaled.values()) == {0.25}


def test_a_teacher_is_asked_for_the_names(monkeypatch, recipe):
    def read(source, student, names):
        assert (source, list(names)) == ("teacher.keras", NAMES)
        return keras.models.clone_model(student)

    monkeypatch.setattr(models.distillation, "read_teacher", read)
    settings = recipe(teacher="teacher.keras", backbone_rate=0.5)
    classifier = models.build_classifier(settings, NAMES)
    model = models.compile_trained_part(classifier, settings, 2)
    assert isinstance(model, keras.distillation.Distiller)
    assert classifier.get_layer("predictions") in model.student.layers
    assert len(model.optimizer.get_config()["scaled_rates"]) > 10


def test_pixels_are_normalized_as_those_of_imagenet(recipe):
    from keras_epsanet import preprocess_input

    model = models.build_classifier(recipe(), NAMES)
    (rescaling,) = (x for x in model.layers if x.name.startswith("rescaling"))
    part = keras.Model(model.input, rescaling.output)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    images = images.astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(part(images)),
        keras.ops.convert_to_numpy(preprocess_input(images)),
        rtol=0,
        atol=1e-5,
    )


def test_five_classes_count_for_top_5(recipe):
    part = models.compile_trained_part(
        models.build_classifier(recipe(), list("abcdefg")), recipe(), 2
    )
    (metric,) = (
        x
        for x in part._compile_metrics._user_weighted_metrics
        if x.name == "top5"
    )
    assert metric.get_config()["k"] == 5


def gammas(model):
    return [x.gamma.numpy() for x in model.layers if x.name.endswith("_3_bn")]


def test_blocks_start_as_their_shortcuts_unless_they_are_trained(
    recipe, tmp_path
):
    model = models.build_classifier(recipe(), NAMES)
    assert not np.any(gammas(model))
    for weight in model.weights:
        weight.assign(keras.ops.ones_like(weight))
    model.save(tmp_path / "model.keras")
    loaded = models.build_classifier(recipe(), NAMES, tmp_path / "model.keras")
    for weight in loaded.weights:
        np.testing.assert_array_equal(weight.numpy(), 1)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_pixels_and_probabilities_are_in_float32(recipe, precision):
    model = models.build_classifier(recipe(precision=precision), NAMES)
    dtypes = {layer.name: layer.compute_dtype for layer in model.layers}
    network = precision.removeprefix("mixed_")
    assert dtypes["predictions"] == dtypes["conv1_conv"] == network
    for name in ("resizing", "rescaling", "logits", "probabilities"):
        (found,) = {x for n, x in dtypes.items() if n.startswith(name)}
        assert found == "float32"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_top_5_is_counted_of_more_than_five_classes(recipe, classes):
    names = [f"class {i}" for i in range(classes)]
    model = models.build_classifier(recipe(), names)
    part = models.compile_trained_part(model, recipe(), steps_per_epoch=2)
    images = np.zeros((classes, 32, 32, 3), "float32")
    found = part.evaluate(images, np.eye(classes), verbose=0, return_dict=True)
    assert ("top5" in found) == (classes > 5)


def test_the_trained_part_shares_the_weights_and_gives_logits(recipe):
    model = models.build_classifier(recipe(), NAMES)
    part = models.compile_trained_part(model, recipe(), steps_per_epoch=2)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    logits = part(images.astype("float32"))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
        keras.ops.convert_to_numpy(model(images.astype("float32"))),
        rtol=1e-5,
    )
    assert [w.path for w in part.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize("sync_bn", [True, False])
def test_statistics_are_taken_over_all_devices_if_asked_for(recipe, sync_bn):
    model = models.build_classifier(recipe(sync_bn=sync_bn), NAMES)
    expected = sync_bn and keras.backend.backend() == "tensorflow"
    assert model.get_layer("conv1_bn").synchronized == expected
