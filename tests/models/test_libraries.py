"""EPSANetBackbone in the models of KerasCV and KerasHub."""

import os
import pathlib

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANetBackbone, save_torch_weights

FOLDER = str(pathlib.Path(__file__).parent)
NAMES = ("keras_cv_retinanet", "keras_hub_retinanet", "keras_cv_deeplab")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="trains by TensorFlow's strategies",
)


@pytest.fixture
def library_models(monkeypatch):
    pytest.importorskip("keras_cv")
    pytest.importorskip("keras_hub")
    monkeypatch.syspath_prepend(FOLDER)
    import library_models

    return library_models


@pytest.fixture
def run_beside(run_python):
    """`run_python` with `library_models` on the path."""

    def run(code):
        paths = [FOLDER, os.environ.get("PYTHONPATH")]
        return run_python(code, PYTHONPATH=os.pathsep.join(filter(None, paths)))

    return run


def values(model):
    return {weight.path: weight.numpy().copy() for weight in model.weights}


def changed(model, before):
    return {
        weight.path
        for weight in model.weights
        if not np.array_equal(weight.numpy(), before[weight.path])
    }


@pytest.mark.parametrize(
    "norm_eval", [True, pytest.param(False, marks=pytest.mark.large)]
)
@pytest.mark.parametrize("name", NAMES)
def test_fit_leaves_frozen_stages_and_statistics_alone(
    library_models, name, norm_eval
):
    model, y, backbone = library_models.build(name, norm_eval=norm_eval)
    before = values(backbone)
    history = model.fit(library_models.IMAGES, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    paths = changed(backbone, before)
    assert not [path for path in paths if path.startswith(("conv1", "conv2"))]
    assert "conv5_block1_1_conv/kernel" in paths
    # KerasCV and KerasHub train in training mode: only `norm_eval` stops it.
    moved = {path for path in paths if "moving_" in path}
    assert bool(moved) == (not norm_eval)
    assert {"conv4_block1_1_bn/gamma", "conv4_block1_1_bn/beta"} <= paths


@pytest.mark.large
@pytest.mark.parametrize(
    "name, ending",
    [
        (NAMES[0], ".keras"),
        (NAMES[1], ".pth"),
        (NAMES[2], ".weights.h5"),
    ],
)
def test_reload_in_a_fresh_process_from_the_weights_of_a_classifier(
    library_models, run_beside, randomize, tmp_path, name, ending
):
    classifier = randomize(EPSANet(**library_models.TINY, classes=5))
    path = str(tmp_path / f"classifier{ending}")
    if ending == ".pth":
        save_torch_weights(classifier, path)
    elif ending == ".keras":
        classifier.save(path)
    else:
        classifier.save_weights(path)
    model, y, backbone = library_models.build(name, weights=path)
    wanted = values(classifier)
    for weight_path, value in values(backbone).items():
        np.testing.assert_array_equal(
            value, wanted[weight_path], err_msg=weight_path
        )
    model.fit(library_models.IMAGES, y, verbose=0)
    expected = library_models.predict(model)
    model.save(tmp_path / "model.keras")
    output = run_beside(
        """
import keras, numpy as np, library_models
model = keras.saving.load_model("model.keras", compile=False)
np.savez("outputs.npz", **library_models.predict(model))
backbone = model.backbone
backbone = getattr(backbone, "image_encoder", backbone)
print(type(backbone).__name__, len(backbone.trainable_weights),
      len(model.trainable_weights))
"""
    )
    assert output.split()[-3:] == [
        EPSANetBackbone.__name__,
        str(len(backbone.trainable_weights)),
        str(len(model.trainable_weights)),
    ]
    outputs = np.load(tmp_path / "outputs.npz")
    assert set(outputs) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(outputs[key], value, err_msg=key)


@pytest.mark.large
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_backbone(library_models, name):
    model, y, backbone = library_models.build(name, dtype="mixed_bfloat16")
    assert backbone.output.dtype == "bfloat16"
    history = model.fit(library_models.IMAGES, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for key, value in library_models.predict(model).items():
        assert value.dtype in ("float32", "int32"), key
        assert np.isfinite(value).all(), key


@pytest.mark.large
@pytest.mark.parametrize(
    # The sums of the RetinaNets' losses are not scaled by their number.
    "name, times",
    [*zip(NAMES, [2, 2, 1])],
)
def test_two_replicas(run_beside, name, times):
    output = run_beside(
        f"""
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    2 * [tf.config.LogicalDeviceConfiguration()],
)
import library_models
updates = []
for strategy in tf.distribute.MirroredStrategy(), tf.distribute.get_strategy():
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model, y, backbone = library_models.build({name!r})
    before = [w.numpy().copy() for w in model.trainable_weights]
    model.fit(library_models.IMAGES, y, batch_size=2, verbose=0)
    outputs = library_models.predict(model)
    assert all(len(value) == 2 for value in outputs.values())
    updates.append(np.concatenate([
        (w.numpy() - old).ravel()
        for w, old in zip(model.trainable_weights, before)
    ]))
print(strategy.num_replicas_in_sync, *map(np.linalg.norm, updates),
      updates[0] @ updates[1] / np.prod([*map(np.linalg.norm, updates)]))
"""
    )
    two, one, cosine = (float(x) for x in output.split()[-3:])
    np.testing.assert_allclose(two / one, times, rtol=1e-2)
    assert cosine > 0.999
