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


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_runs_are_compared_in_full_precision(enabled, fails, monkeypatch):
    import tensorflow as tf

    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    given, seen = ("path", "images", 0.5), []

    def check(*arguments):
        seen.append((arguments, config.tensor_float_32_execution_enabled()))
        if fails:
            raise RuntimeError("differs")
        return ["one"]

    monkeypatch.setattr(agreement, "_check_agreement", check)
    try:
        config.enable_tensor_float_32_execution(enabled)
        if fails:
            with pytest.raises(RuntimeError, match="differs"):
                agreement.check_agreement(*given)
        else:
            assert agreement.check_agreement(*given) == ["one"]
        assert config.tensor_float_32_execution_enabled() == enabled
    finally:
        config.enable_tensor_float_32_execution(before)
    assert seen == [(given, False)]


@pytest.mark.parametrize("missing", ["tf2onnx", "onnxruntime"])
def test_what_is_not_installed_is_not_compared(missing, monkeypatch):
    find = agreement.importlib.util.find_spec
    monkeypatch.setattr(
        agreement.importlib.util,
        "find_spec",
        lambda name: None if name == missing else find(name),
    )
    assert list(agreement._exports()) == ["SavedModel", "LiteRT"]
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert agreement._exports() == {}


@pytest.mark.parametrize("difference, agrees", [(1e-4, True), (2e-4, False)])
def test_differences_are_compared_with_the_tolerance(difference, agrees):
    expected = np.array([[0.5, 0.5], [1.0, 0.0]])
    # The larger one is what counts, whichever sign it has.
    found = expected + [[0, -0.99 * difference], [0, 0]]
    if agrees:
        agreement._compare("a", "one", found, expected, 1e-4)
    else:
        with pytest.raises(RuntimeError, match="^one of a differs from `pr"):
            agreement._compare("a", "one", found, expected, 1e-4)
