import keras
import numpy as np
import pytest

from keras_epsanet.classification import agreement, models
from keras_epsanet.layers import class_names

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported from TensorFlow", allow_module_level=True)

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 40, 36, 3))


def trained(recipe, randomize, monkeypatch, resizing=None):
    if resizing is not None:
        monkeypatch.setattr(models, "Resizing", resizing)
    return randomize(models.build_classifier(recipe(), ["a", "b", "c"]))


def test_every_way_to_run_a_saved_classifier_agrees(
    recipe, randomize, monkeypatch, tmp_path
):
    model = trained(recipe, randomize, monkeypatch)
    model.save(tmp_path / "model.keras")
    found = agreement.check_agreement(tmp_path / "model.keras", IMAGES)
    assert found == ["model(x)", "SavedModel", "LiteRT", "ONNX"]


def test_a_model_that_trains_when_it_is_called_is_found_out(
    recipe, randomize, monkeypatch, tmp_path
):
    monkeypatch.setattr(class_names, "free_training", lambda tensor: None)
    model = trained(recipe, randomize, monkeypatch, keras.layers.Resizing)
    model.save(tmp_path / "model.keras")
    with pytest.raises(RuntimeError, match="differs from `predict`|changes"):
        agreement.check_agreement(tmp_path / "model.keras", IMAGES)


def test_a_changed_weight_and_a_wrong_export_are_found_out(
    recipe, randomize, monkeypatch, tmp_path
):
    path = tmp_path / "model.keras"
    trained(recipe, randomize, monkeypatch).save(path)

    def wrong(model, folder, images):
        return model.predict(images, verbose=0) + 2e-4

    monkeypatch.setattr(agreement, "_exports", lambda: {"wrong": wrong})
    with pytest.raises(RuntimeError, match="wrong of .* by 0.0002"):
        agreement.check_agreement(path, IMAGES)
    monkeypatch.setattr(
        agreement, "_exports", lambda: {"nan": lambda *_: np.full(3, np.nan)}
    )
    with pytest.raises(RuntimeError, match="differs"):
        agreement.check_agreement(path, IMAGES)
    monkeypatch.setattr(agreement, "_compare", lambda *_: None)
    load = keras.saving.load_model

    class Counting:
        def __init__(self, model):
            self._model = model

        def __getattr__(self, name):
            return getattr(self._model, name)

        def __call__(self, images):
            self._model.weights[0].assign_add(
                keras.ops.ones_like(self._model.weights[0])
            )

    monkeypatch.setattr(
        keras.saving, "load_model", lambda *a, **k: Counting(load(*a, **k))
    )
    with pytest.raises(RuntimeError, match="changes its weight"):
        agreement.check_agreement(path, IMAGES)
