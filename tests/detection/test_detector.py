import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from keras import ops
from small_detectors import make_batch, make_detector

from keras_epsanet.detection import FasterRCNN, MaskRCNN, RetinaNet

TWO_STAGE = (FasterRCNN, MaskRCNN)
TENSORFLOW = keras.backend.backend() == "tensorflow"


def of_unknown_sizes(make_batches):
    """Batches whose images and numbers of objects may have any size."""
    import tensorflow as tf

    return tf.data.Dataset.from_generator(
        make_batches,
        output_signature={
            "images": tf.TensorSpec((None, None, None, 3), "float32"),
            "boxes": tf.TensorSpec((None, None, 4), "float32"),
            "labels": tf.TensorSpec((None, None), "int32"),
            "masks": tf.TensorSpec((None, None, None, None), "uint8"),
        },
    )


@pytest.fixture(scope="module", params=TWO_STAGE)
def compiled(request):
    """A detector for several tests, since tracing takes longest."""
    model = make_detector(request.param, confidence_threshold=0.0)
    model.compile(keras.optimizers.SGD(0.01, clipnorm=10))
    return model


def test_every_weight_learns(compiled):
    before = [ops.convert_to_numpy(w) for w in compiled.trainable_weights]
    logs = compiled.fit(make_batch(), verbose=0).history
    assert set(logs) == {"loss", *compiled.LOSSES}
    total = sum(logs[name][0] for name in compiled.LOSSES)
    np.testing.assert_allclose(logs["loss"][0], total, rtol=1e-5)
    for old, weight in zip(before, compiled.trainable_weights):
        new = ops.convert_to_numpy(weight)
        # A bias before the attention's softmax over equal scales has none.
        assert np.any(new != old) or "psa" in weight.path, weight.path


@pytest.mark.parametrize("change", ["no objects", "two pixels", "outside"])
def test_losses_are_finite(compiled, change):
    batch = make_batch()
    if change == "no objects":
        batch["labels"][:] = batch["boxes"][:] = -1
    if change == "two pixels":
        batch["boxes"][:, 0] = (10, 10, 12, 11)
    if change == "outside":
        batch["boxes"][:, 0] = (90, 60, 130, 99)
    logs = compiled.fit(batch, epochs=2, verbose=0).history
    assert np.isfinite([logs[name] for name in compiled.LOSSES]).all()
    if change == "no objects":
        assert logs["box_loss"] == [0, 0]


def test_predictions_follow_the_weights(compiled):
    """`predict` is compiled once, and must not keep what it saw then."""
    images = make_batch()["images"]
    before = compiled.predict(images, verbose=0)
    bias = compiled.box_head.get_layer("class_logits").bias
    old = ops.convert_to_numpy(bias)
    bias.assign([0.0, 5.0, 0.0, 0.0])
    after = compiled.predict(images, verbose=0)
    bias.assign(old)
    assert np.all(after["labels"][:, 0] == 1)
    assert after["confidence"].max() > before["confidence"].max() + 0.3
    assert all(np.isfinite(x).all() for x in before.values())


@pytest.mark.large
@pytest.mark.parametrize("change", ["300 objects", "another size"])
def test_shapes_may_change(compiled, change):
    if change == "300 objects":
        batch = make_batch(boxes=300)
    else:
        batch = make_batch(size=(96, 64))
    logs = compiled.fit(batch, verbose=0).history
    assert np.isfinite([logs[name] for name in compiled.LOSSES]).all()


@pytest.mark.large
@pytest.mark.skipif(not TENSORFLOW, reason="its graph takes any sizes")
@pytest.mark.parametrize("cls", (RetinaNet, *TWO_STAGE))
def test_sizes_may_be_unknown(cls):
    model = make_detector(cls)
    model.compile(keras.optimizers.SGD(0.0))
    batch = make_batch()
    batches = of_unknown_sizes(lambda: iter([batch]))
    logs = model.fit(batches, verbose=0).history
    assert np.isfinite([logs[name] for name in model.LOSSES]).all()
    found = model.predict(batches, verbose=0)
    wanted = model.predict(batch["images"], verbose=0)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)


@pytest.mark.large
@pytest.mark.skipif(not TENSORFLOW, reason="its graph takes any sizes")
@pytest.mark.parametrize("cls", TWO_STAGE)
def test_a_thousand_random_steps_stay_finite(cls):
    random = np.random.default_rng(0)

    def make_batches():
        for seed in range(1000):
            size = random.choice((32, 64, 96), 2)
            yield make_batch(random.integers(6), size=size, seed=seed)

    model = make_detector(cls)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9, clipnorm=10))
    logs = model.fit(of_unknown_sizes(make_batches), verbose=0).history
    # Means over all steps.
    assert np.isfinite([logs[name] for name in cls.LOSSES]).all()
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all(), weight.path
    found = model.predict(make_batch()["images"], verbose=0)
    assert all(np.isfinite(x).all() for x in found.values())


@pytest.mark.large
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make_detector(MaskRCNN)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.001, clipnorm=10))
    logs = model.fit(make_batch(), epochs=2, verbose=0).history
    assert np.isfinite([logs[name] for name in model.LOSSES]).all()


@pytest.mark.parametrize(
    "cls", [pytest.param(FasterRCNN, marks=pytest.mark.large), MaskRCNN]
)
def test_saved_it_predicts_the_same(cls, run_python, tmp_path):
    model = make_detector(cls, confidence_threshold=0.0, max_detections=5)
    images = make_batch()["images"]
    model.save(tmp_path / "model.keras")
    np.savez(
        tmp_path / "expected.npz",
        images=images,
        **model.predict(images, verbose=0),
    )
    run_python(
        f"""
import keras, numpy as np
import keras_epsanet.detection
model = keras.saving.load_model({str(tmp_path / "model.keras")!r})
assert (model.num_samples, model.seed) == (32, 0)
expected = dict(np.load({str(tmp_path / "expected.npz")!r}))
found = model.predict(expected.pop("images"), verbose=0)
assert found["num_detections"].min() > 0
for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-3)
"""
    )


def test_the_state_of_the_optimizer_is_saved_too(tmp_path):
    model = make_detector(RetinaNet)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate(model.optimizer.variables):
        variable.assign(ops.full(variable.shape, i + 7, variable.dtype))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    for i, variable in enumerate(loaded.optimizer.variables):
        if "learning_rate" not in variable.path:
            assert ops.all(ops.equal(variable, i + 7)), variable.path


@pytest.mark.large
@pytest.mark.parametrize("cls", TWO_STAGE)
def test_training_finds_the_objects_of_an_image(cls):
    model = make_detector(cls, num_samples=64)
    image = np.zeros((1, 64, 96, 3), "float32")
    image[:, 8:40, 16:56] = 3
    image[:, 20:60, 64:90, 0] = -3
    masks = np.zeros((1, 2, 64, 96), "uint8")
    masks[:, 0, 8:40, 16:56] = masks[:, 1, 20:60, 64:90] = 1
    batch = {
        "images": image,
        "boxes": np.array([[[16, 8, 56, 40], [64, 20, 90, 60]]], "float32"),
        "labels": np.array([[2, 0]], "int32"),
        "masks": masks,
    }
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(batch, epochs=100, verbose=0)
    found = model.predict(image, verbose=0)
    assert set(found["labels"][0, :2]) == {0, 2}
    for label, box in zip(batch["labels"][0], batch["boxes"][0]):
        (best,) = np.flatnonzero(found["labels"][0, :2] == label)
        np.testing.assert_allclose(found["boxes"][0, best], box, atol=5)
        if cls is MaskRCNN:
            assert found["masks"][0, best].mean() > 0.8


@pytest.mark.skipif(not TENSORFLOW, reason="of TensorFlow")
@pytest.mark.large
@pytest.mark.parametrize("name", ["RetinaNet", "FasterRCNN", "MaskRCNN"])
def test_two_devices_train_as_one_with_the_whole_batch(name, tmp_path):
    script = pathlib.Path(__file__).with_name("train_on_devices.py")
    output = tmp_path / "arrays.npz"
    subprocess.run([sys.executable, script, name, output], check=True)
    arrays = dict(np.load(output))
    one = {k[4:]: v for k, v in arrays.items() if k.startswith("one:")}
    assert len(one) > 40 and "val_box_loss" in one
    for key, expected in one.items():
        np.testing.assert_allclose(
            arrays[f"two:{key}"],
            expected,
            atol=1e-4,
            rtol=1e-4,
            err_msg=key,
        )


@pytest.mark.skipif(not TENSORFLOW, reason="one backend is enough")
def test_an_evaluation_knows_where_images_end(monkeypatch):
    from keras_epsanet.detection import evaluation

    batch = {**make_batch(), "image_size": np.array([[40, 50], [64, 96]])}
    seen = []
    monkeypatch.setattr(
        evaluation, "to_results", lambda found, *_: seen.append(found) or []
    )
    monkeypatch.setattr(evaluation, "evaluate_coco", lambda *_: {"AP": 0})
    monkeypatch.setattr(evaluation, "format_table", lambda *_: [])
    annotations = types.SimpleNamespace(category_ids=[], path="")
    detector = make_detector(RetinaNet, confidence_threshold=0.0)
    evaluator = evaluation.CocoEvaluator([batch], annotations)
    evaluator.evaluate(detector)
    first, second = seen[0]["boxes"].max(axis=1)
    assert first[2] == 50 and first[3] == 40
    assert second[2] == 96 and second[3] == 64


def test_single_batches_are_taken_in_every_form():
    batch = make_batch()
    images = batch.pop("images")
    del batch["masks"]
    forms = (
        ((images, batch), {}),
        ((), {"x": images, "y": batch}),
        (({"images": images, **batch},), {}),
    )
    losses = []
    for arguments, named in forms:
        detector = make_detector(RetinaNet)
        detector.compile("sgd", run_eagerly=True)
        losses.append(detector.train_on_batch(*arguments, **named))
        # The step has changed it; it can be evaluated in the same way.
        losses.append(detector.test_on_batch(*arguments, **named))
    losses = [[float(x) for x in np.ravel(loss)] for loss in losses]
    assert np.isfinite(losses).all()
    for after in (0, 1):
        for other in losses[2 + after :: 2]:
            np.testing.assert_allclose(other, losses[after], rtol=1e-4)
