"""Exported detectors against `predict`, in the runtimes they are for."""

import json
import types
import zipfile

import keras
import numpy as np
import pytest
from small_detectors import make_backbone

from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    predictor,
)

TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW, reason="exports are TensorFlow's"
)
SIZE = (48, 64)


def make_detector(cls, image_shape=(None, None, 3), **options):
    keras.utils.set_random_seed(0)
    backbone = make_backbone(
        image_shape=image_shape,
    )
    # No score is left out, so that all that is found is compared.
    options = {"confidence_threshold": 0.0, "max_detections": 5, **options}
    detector = cls(backbone, 3, **options)
    if cls is not RetinaNet:
        # Scores that differ by more than rounding does.
        kernel, _ = detector.box_head.get_layer("class_logits").weights
        kernel.assign(kernel * 100)
    return detector


def make_images(number=2, size=SIZE):
    random = np.random.default_rng(0)
    return random.normal(size=(number, *size, 3)).astype("float32")


def check(found, wanted):
    assert set(found) == set(wanted)
    assert wanted["num_detections"].min() > 0
    for name, values in wanted.items():
        np.testing.assert_allclose(
            found[name], values, rtol=1e-4, atol=1e-4, err_msg=name
        )


@needs_tensorflow
@pytest.mark.parametrize(
    "cls", (RetinaNet, pytest.param(MaskRCNN, marks=pytest.mark.large))
)
def test_a_saved_model_predicts_images_of_any_size(cls, tmp_path):
    import tensorflow as tf

    detector = make_detector(cls)
    detector.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for number, size in ((2, SIZE), (1, (33, 40))):
        images = make_images(number, size)
        found = {k: v.numpy() for k, v in loaded.serve(images).items()}
        check(found, detector.predict(images, verbose=0))


@needs_tensorflow
@pytest.mark.large
@pytest.mark.parametrize("cls", (RetinaNet, FasterRCNN, MaskRCNN))
def test_an_onnx_file_predicts_batches_of_one_image_size(cls, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    detector = make_detector(cls, image_shape=(*SIZE, 3))
    path = str(tmp_path / "model.onnx")
    detector.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    for number in (1, 3):
        images = make_images(number)
        found = dict(zip(names, session.run(None, {"images": images})))
        check(found, detector.predict(images, verbose=0))


@needs_tensorflow
@pytest.mark.large
@pytest.mark.parametrize("cls", (RetinaNet, FasterRCNN, MaskRCNN))
def test_litert_predicts_one_image(cls, tmp_path):
    import tensorflow as tf

    detector = make_detector(cls, image_shape=(*SIZE, 3))
    path = str(tmp_path / "model.tflite")
    detector.export(path, format="litert", verbose=False)
    images = make_images(1)
    found = tf.lite.Interpreter(path).get_signature_runner()(images=images)
    check(found, detector.predict(images, verbose=0))


@needs_tensorflow
@pytest.mark.parametrize(
    "options, message",
    (
        ({"format": "onnx"}, "height and width"),
        ({"format": "litert"}, "height and width"),
        ({"format": "openvino"}, "tf_saved_model"),
        (
            {"input_signature": [keras.InputSpec("float32", (1, 8, 8))]},
            r"\(N, H, W, 3\)",
        ),
    ),
)
def test_what_cannot_be_exported_is_refused(options, message, tmp_path):
    detector = make_detector(RetinaNet)
    with pytest.raises(ValueError, match=message):
        detector.export(tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_a_varying_number_of_samples_is_refused_for_onnx(tmp_path):
    detector = make_detector(FasterRCNN, (*SIZE, 3), sampling_ratio=0)
    with pytest.raises(ValueError, match="sampling_ratio=0"):
        detector.export(tmp_path / "model.onnx", format="onnx")


@needs_tensorflow
@pytest.mark.parametrize("format", ["onnx", "tf_saved_model"])
def test_only_the_export_to_onnx_has_the_portable_form(format, monkeypatch):
    """Whether the export ends or fails."""
    detector, seen = make_detector(FasterRCNN, (64, 64, 3)), []

    def export(self, filepath, **options):
        seen.append(self.detector.portable)
        if len(seen) == 2:
            raise OSError("no space")

    monkeypatch.setattr(predictor.Predictor, "export", export)
    detector.export("file", format=format)
    assert not detector.portable
    with pytest.raises(OSError, match="no space"):
        detector.export("file", format=format)
    assert not detector.portable
    assert seen == 2 * [format != "tf_saved_model"]


@needs_tensorflow
@pytest.mark.parametrize(
    "image_shape, format, wanted, shape",
    [
        ((None, None, 3), "tf_saved_model", None, (None, None, None, 3)),
        ((48, 64, 3), "tf_saved_model", None, (None, 48, 64, 3)),
        ((48, 64, 3), "onnx", None, (None, 48, 64, 3)),
        ((48, 64, 3), "litert", None, (1, 48, 64, 3)),
        ((None, None, 3), "litert", (4, 32, 96, 3), (4, 32, 96, 3)),
        ((None, None, 3), "onnx", (None, 32, 96, 3), (None, 32, 96, 3)),
    ],
)
def test_the_signature_is_of_images(image_shape, format, wanted, shape):
    detector = types.SimpleNamespace(input_shape=(None, *image_shape))
    if wanted is not None:
        wanted = [keras.InputSpec("float32", wanted)]
    (found,) = predictor.make_signature(detector, format, wanted)
    assert (found.shape, found.dtype, found.name) == (
        shape,
        "float32",
        "images",
    )


@needs_tensorflow
@pytest.mark.parametrize("shape", [(1, 8, 8, 4), (1, 8, None, 3)])
def test_a_size_must_be_known_and_colors_three(shape):
    wanted = keras.InputSpec("float32", shape)
    detector = types.SimpleNamespace(input_shape=(None, 8, 8, 3))
    with pytest.raises(ValueError, match="Received: "):
        predictor.make_signature(detector, "onnx", wanted)


def test_class_names_are_attached_to_each_format(tmp_path):
    names = ("hat", "b\u00e4g")
    folder = tmp_path / "model"
    predictor.attach_class_names(folder, "tf_saved_model", names)
    text = (folder / "assets.extra/class_names.json").read_text("utf-8")
    assert json.loads(text) == list(names)
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a model")
    predictor.attach_class_names(path, "litert", names)
    assert path.read_bytes().startswith(b"a model")
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("class_names.json")) == list(names)


def test_class_names_are_in_the_metadata_of_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "empty", [], [])
    path = str(tmp_path / "model.onnx")
    onnx.save(onnx.helper.make_model(graph), path)
    predictor.attach_class_names(path, "onnx", ["hat"])
    (entry,) = onnx.load(path).metadata_props
    assert (entry.key, json.loads(entry.value)) == ("class_names", ["hat"])


@needs_tensorflow
@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_an_export_hands_over_all_arguments(names, monkeypatch):
    detector, seen = make_detector(RetinaNet, (64, 64, 3)), []
    detector.class_names = names
    monkeypatch.setattr(
        predictor.Predictor,
        "export",
        lambda self, *x, **y: seen.append((x, y)),
    )
    monkeypatch.setattr(
        predictor, "write_litert", lambda self, *x, **y: seen.append((x, y))
    )
    attached = []
    monkeypatch.setattr(
        predictor, "attach_class_names", lambda *x: attached.append(x)
    )
    for format in ("onnx", "litert"):
        detector.export("file", format, False, opset_version=17)
        ((given, options),) = seen
        seen.clear()
        assert given == ("file",)
        assert options.pop("format", "litert") == format
        (spec,) = options.pop("input_signature")
        assert spec.shape == (None if format == "onnx" else 1, 64, 64, 3)
        assert options == {"verbose": False, "opset_version": 17}
    wanted = [("file", format, names) for format in ("onnx", "litert")]
    assert attached == (wanted if names else [])


@pytest.mark.skipif(TENSORFLOW, reason="of the other backends")
def test_other_backends_say_where_to_export(tmp_path):
    with pytest.raises(ValueError, match="TensorFlow backend"):
        make_detector(RetinaNet).export(tmp_path / "model")
