import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from keras import ops
from small_detectors import make_batch, make_detector

from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    detector,
    pictures,
)

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


class Tiny(detector.Detector):
    """Its losses are the brightness of images; it finds what it is given."""

    LOSSES = ("brightness", "contrast")
    FOUND = (
        # The second has an IoU of 0.7 with the first.
        [[[0.0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 9], [20, 2, 26, 18]]],
        [[0.9, 0.8, 0.3, 0.05]],
        [[1, 1, 2, 3]],
    )

    def __init__(self, backbone, num_classes, **options):
        outputs = {"x": backbone.output}
        super().__init__(backbone, num_classes, outputs, **options)

    def compute_losses(self, images, targets, outputs):
        self.seen = targets
        mean = ops.mean(outputs["x"])
        return {"contrast": 10 * mean, "brightness": mean}

    def decode(self, images, outputs, image_size):
        self.seen = image_size
        return self.suppress(*map(ops.convert_to_tensor, self.FOUND))


def make_tiny(**options):
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(2.0)(image)
    return Tiny(keras.Model(image, x), 4, **options)


DEFAULTS = {
    "num_classes": 4,
    "bounding_box_format": "xyxy",
    "confidence_threshold": 0.05,
    "iou_threshold": 0.5,
    "max_detections": 100,
    "image_size": (800, 1333),
    "class_names": None,
}
CHANGES = {
    "bounding_box_format": "xywh",
    "confidence_threshold": 0.25,
    "iou_threshold": 0.75,
    "max_detections": 7,
    "image_size": (64, 96),
    "class_names": ("a", "b", "c", "d"),
    "name": "mine",
    "trainable": False,
}


def test_the_config_has_every_argument():
    config = make_tiny().get_config()
    assert {name: config[name] for name in DEFAULTS} == DEFAULTS
    model = make_tiny(**CHANGES)
    again = Tiny.from_config(model.get_config())
    for name, value in CHANGES.items():
        assert getattr(again, name) == again.get_config()[name] == value


@pytest.mark.parametrize(
    "options, labels",
    [
        ({}, [1, 2]),  # The score of the last is the limit.
        ({"confidence_threshold": 0.04}, [1, 2, 3]),
        ({"confidence_threshold": 0.5}, [1]),
        ({"iou_threshold": 0.75}, [1, 1, 2]),
        ({"max_detections": 1}, [1]),
    ],
)
def test_the_thresholds_reach_the_suppression(options, labels):
    found = make_tiny(**options).decode(None, None, None)
    number = int(found["num_detections"][0])
    assert found["labels"].shape == (1, options.get("max_detections", 100))
    assert ops.convert_to_numpy(found["labels"])[0, :number].tolist() == labels


@pytest.mark.parametrize(
    "name, box",
    [
        ("xyxy", [20, 2, 26, 18]),
        ("xywh", [20, 2, 6, 16]),
        ("rel_yxyx", [0.05, 0.25, 0.45, 0.325]),
    ],
)
def test_boxes_are_predicted_in_the_format_of_the_detector(name, box):
    model = make_tiny(
        bounding_box_format=name, confidence_threshold=0.0, max_detections=5
    )
    images = np.zeros((1, 40, 80, 3))
    found = model.predictions(images, {}, "sizes")
    boxes = ops.convert_to_numpy(found["boxes"])[0]
    assert model.seen == "sizes" and int(found["num_detections"][0]) == 3
    np.testing.assert_allclose(boxes[2], box, rtol=1e-6)
    assert (boxes[3:] == -1).all()


def test_losses_see_corners_and_are_added(monkeypatch):
    model = make_tiny(bounding_box_format="rel_yxyx")
    images = np.full((3, 40, 80, 3), 0.5, "float32")
    targets = {
        "boxes": np.array(3 * [[[0.25, 0.05, 0.5, 0.325]]]),
        "labels": np.array(3 * [[2]], "int64"),
    }
    loss = model.compute_loss(images, targets, model(images))
    assert float(loss) == pytest.approx(11)
    np.testing.assert_allclose(model.seen["boxes"][1, 0], (4, 10, 26, 20), 1e-6)
    for name, dtype in (
        ("boxes", "float32"),
        ("labels", "int32"),
        ("image_size", "int32"),
    ):
        assert keras.backend.standardize_dtype(model.seen[name].dtype) == dtype
    sizes = ops.convert_to_numpy(model.seen["image_size"])
    assert sizes.tolist() == 3 * [[40, 80]]


def test_the_means_of_losses_count_images():
    """Of three images of 1 and 10, and of one of 2 and 20."""
    model = make_tiny()
    for number, value in ((3, 0.5), (1, 1.0)):
        images = np.full((number, 4, 4, 3), value, "float32")
        # Without a row for objects; there is one all the same.
        targets = {
            "boxes": np.zeros((number, 0, 4)),
            "labels": np.zeros((number, 0)),
        }
        model.compute_loss(images, targets, model(images))
        assert model.seen["labels"].shape == (number, 1)
    found = {m.name: float(m.result()) for m in model.metrics}
    assert found == pytest.approx({"brightness": 1.25, "contrast": 12.5})


@pytest.mark.parametrize(
    "name, value",
    [
        ("loss", "mse"),
        ("loss_weights", [1.0]),
        ("metrics", ["mae"]),
        ("weighted_metrics", ["mae"]),
    ],
)
def test_losses_and_metrics_are_the_detector_s_own(name, value):
    model = make_tiny()
    with pytest.raises(ValueError, match=f"Tiny has .*Received: {name}="):
        model.compile("sgd", **{name: value})
    model.compile("sgd", run_eagerly=True, **{name: None})
    assert model.run_eagerly


def test_names_of_another_number_of_classes_are_refused():
    model = make_tiny()
    model.class_names = "abcd", "b", "c", "d"
    with pytest.raises(ValueError, match="4 different.*class_names="):
        model.class_names = "a", "b"
    assert model.class_names == ("abcd", "b", "c", "d")


def test_pictures_and_exports_get_all_arguments(monkeypatch):
    model = make_tiny()
    monkeypatch.setattr(pictures, "detect", lambda *x: x)
    assert model.detect("a.jpg") == (model, "a.jpg", 0.0, 1)
    assert model.detect("a.jpg", 0.5, 3) == (model, "a.jpg", 0.5, 3)
    seen = []
    monkeypatch.setattr(detector, "export", lambda *x, **y: seen.append((x, y)))
    model.export("a", "onnx", False, "signature", opset_version=17)
    model.export("a")
    assert seen == [
        ((model, "a", "onnx", False, "signature"), {"opset_version": 17}),
        ((model, "a", "tf_saved_model", None, None), {}),
    ]
