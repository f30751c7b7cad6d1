import argparse
import json
import pathlib
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, storage
from keras_epsanet.classification.models import build_classifier
from keras_epsanet.commands import export
from keras_epsanet.detection import RetinaNet
from keras_epsanet.hub import fronts, tasks, timm_configs
from keras_epsanet.layers import ClassNames, GroupedConv2D
from keras_epsanet.training import ClassifierRecipe

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported on TensorFlow", allow_module_level=True)

# Each has a test below.
OPTIONS = {"model", "format", "output", "batch_size", "image_size", "fuse"}


def make_model(*layers):
    """A small classifier of images of any size, as one of a training."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for layer in layers:
        x = layer(x)
    x = GroupedConv2D(8, 3, strides=2)(x)
    bn = keras.layers.BatchNormalization()
    x = bn(x)
    bn.moving_mean.assign(np.linspace(-0.5, 0.5, 8))
    bn.moving_variance.assign(np.linspace(0.5, 1.5, 8))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    x = keras.layers.Dense(3, activation="softmax")(x)
    return keras.Model(image, ClassNames(["a", "b", "c"])(x))


@pytest.fixture
def saved(tmp_path):
    make_model().save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def run(*arguments):
    export.main(list(map(str, arguments)))


def test_a_model_is_exported_beside_it(saved, capsys):
    import tensorflow as tf

    run("--model", saved, "--image-size", "32")
    names = sorted(path.name for path in saved.parent.iterdir())
    assert names == ["mine.keras", "mine_saved_model"]
    assert "is as Keras predicts" in capsys.readouterr().out
    images = 255 * np.ones((3, 40, 24, 3), "float32")
    loaded = tf.saved_model.load(saved.parent / "mine_saved_model")
    np.testing.assert_allclose(
        loaded.serve(images), make_model().predict(images, verbose=0), atol=1e-5
    )


def test_what_trains_when_it_is_exported_is_not_kept(tmp_path):
    # The layers behind Keras' CenterCrop run as in training.
    make_model(keras.layers.CenterCrop(16, 16)).save(tmp_path / "bad.keras")
    (tmp_path / "bad_saved_model").mkdir()
    (tmp_path / "bad_saved_model/old").touch()
    with pytest.raises(SystemExit) as caught:
        run("--model", tmp_path / "bad.keras")
    assert caught.value.code.startswith("export: saved_model differs from")
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == ["bad.keras", "bad_saved_model", "old"]


@pytest.mark.parametrize(
    "name, error, kept",
    [
        ("saved_model", 5e-4, False),
        ("saved_model", 2e-5, True),
        ("saved_model", np.nan, False),
        ("litert_int8", 0.03, True),
        ("litert_int8", 0.2, False),
    ],
)
def test_outputs_decide_what_is_kept(
    name, error, kept, saved, monkeypatch, quickly
):
    model = make_model()
    monkeypatch.setattr(
        export, "write", lambda m, x, n, path, s: open(path, "w").close()
    )
    monkeypatch.setattr(
        export,
        "load",
        lambda *_: lambda x: model.predict(x, verbose=0) + error,
    )
    options = "--image-size 32 --batch-size 16 --format".split()
    if kept:
        run("--model", saved, *options, name)
    else:
        with pytest.raises(SystemExit):
            run("--model", saved, *options, name)
    assert len(list(saved.parent.iterdir())) == 1 + kept


@pytest.fixture
def quickly(monkeypatch):
    """Lets models predict without the tracing of a graph."""

    def predict(self, images, verbose):
        return np.asarray(self(images, training=False))

    monkeypatch.setattr(keras.Model, "predict", predict)


@pytest.fixture
def exports(monkeypatch, quickly):
    """Keeps what models are told to export, and exports nothing."""
    calls = []

    def note(self, path, **options):
        open(path, "w").close()
        calls.append((self, options))

    monkeypatch.setattr(keras.Model, "export", note)
    monkeypatch.setattr(
        export,
        "load",
        lambda *_: lambda x: calls[-1][0].predict(x, verbose=0),
    )
    return calls


@pytest.mark.parametrize(
    "given, sizes",
    [
        ("--format saved_model", [("tf_saved_model", None, None)]),
        ("--batch-size 3", [("tf_saved_model", 3, None)]),
        (
            "--format onnx litert --image-size 40",
            [("onnx", None, None), ("litert", None, 40)],
        ),
    ],
)
def test_formats_and_sizes_are_those_asked_for(given, sizes, saved, exports):
    run("--model", saved, *given.split())
    assert [
        (options["format"], *options["input_signature"][0].shape[:2])
        for _, options in exports
    ] == sizes


def test_a_model_may_lie_where_the_command_runs(saved, exports, monkeypatch):
    monkeypatch.chdir(saved.parent)
    run("--model", saved.name, "--image-size", "32")
    names = sorted(path.name for path in saved.parent.iterdir())
    assert names == ["mine.keras", "mine_saved_model"]


def test_a_former_export_is_replaced(saved, monkeypatch, quickly):
    contents = iter("ab")

    def write(self, path, **options):
        pathlib.Path(path).mkdir()
        (pathlib.Path(path) / next(contents)).touch()

    model = make_model()
    monkeypatch.setattr(keras.Model, "export", write)
    monkeypatch.setattr(
        export, "load", lambda *_: lambda x: model.predict(x, verbose=0)
    )
    for name in "ab":
        run("--model", saved, "--image-size", "32")
        (file,) = (saved.parent / "mine_saved_model").iterdir()
        assert file.name == name


def test_every_image_is_compared_in_batches_of_the_size(
    saved, exports, monkeypatch
):
    batches = []
    monkeypatch.setattr(
        export,
        "write",
        lambda model, x, name, path, size: (
            batches.append(x),
            open(path, "w").close(),
        ),
    )
    model = make_model()
    monkeypatch.setattr(
        export, "load", lambda *_: lambda x: model.predict(x, verbose=0)
    )
    options = ["--model", saved, "--image-size", "32"]
    for size, shape in (([], (8, 2)), (["--batch-size", "3"], (6, 3))):
        run(*options, *size)
        assert batches[-1].shape == (*shape, 32, 32, 3)
    images = export.make_images(model, argparse.Namespace(image_size=32))
    flat = batches[-1].reshape(-1, 32, 32, 3)
    # Filled up with the first ones.
    np.testing.assert_array_equal(flat, [*images, *images[:2]])
    np.testing.assert_array_equal(batches[0].reshape(-1, 32, 32, 3), images)


def test_defaults_are_those_of_the_help():
    assert vars(export.parse([])) == {
        "model": "runs/classifier/model.keras",
        "format": ["saved_model"],
        "output": None,
        "batch_size": None,
        "image_size": None,
        "fuse": False,
    }


def test_output_is_another_folder(saved, exports):
    output = saved.parent / "new/folder"
    run("--model", saved, "--output", output)
    assert [path.name for path in output.iterdir()] == ["mine_saved_model"]


@pytest.mark.parametrize("options", [[], ["--fuse"]])
def test_fuse_leaves_no_batch_normalization(options, saved, exports):
    run("--model", saved, *options)
    kinds = [type(layer).__name__ for layer in exports[0][0].layers]
    assert ("BatchNormalization" in kinds) == (not options)


def test_a_fused_model_is_written_beside_the_plain_one(saved, exports):
    for options in ([], ["--fuse"]):
        run("--model", saved, "--image-size", "32", *options)
    assert sorted(path.name for path in saved.parent.iterdir()) == [
        "mine.keras",
        "mine_fused_saved_model",
        "mine_saved_model",
    ]


@pytest.mark.parametrize(
    "format, name",
    [
        ("onnx", "onnx"),
        ("onnx", "tf2onnx"),
        ("onnx", "onnxruntime"),
        ("preset", "keras_hub"),
        ("timm", "safetensors"),
    ],
)
def test_a_missing_package_is_named_before_work_starts(
    format, name, monkeypatch
):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"export: .* needs {name}: pip install {name}"
    with pytest.raises(SystemExit, match=message):
        run("--model", "none.keras", "--format", "saved_model", format)
    # Which the others do without.
    with pytest.raises(SystemExit, match="none.keras cannot be used"):
        run("--model", "none.keras", "--format", "saved_model", "litert")


def test_networks_that_do_not_normalize_get_normalized_images():
    image = keras.Input((8, 8, 3))
    args = argparse.Namespace(image_size=None)
    images = export.make_images(keras.Model(image, image), args)
    assert images.shape == (16, 8, 8, 3) and -3 < images.min() < 0
    assert (
        export.make_images(make_model(), argparse.Namespace(image_size=8)).max()
        > 250
    )


@pytest.mark.large
@pytest.mark.parametrize("size", [[], ["--batch-size", "3"]])
def test_every_format_is_as_keras_predicts(size, saved, capsys):
    pytest.importorskip("onnxruntime")
    formats = ["saved_model", "onnx", "litert", "litert_int8"]
    options = ["--image-size", "48", *size, "--fuse", "--format", *formats]
    run("--model", saved, *options)
    assert capsys.readouterr().out.count("is as Keras predicts") == 4
    assert sorted(path.name for path in saved.parent.iterdir()) == [
        "mine.keras",
        "mine_fused.onnx",
        "mine_fused.tflite",
        "mine_fused_int8.tflite",
        "mine_fused_saved_model",
    ]


@pytest.fixture
def classifier(tmp_path):
    """A classifier as a training leaves it."""
    recipe = ClassifierRecipe(model="tiny", image_size=32)
    build_classifier(recipe, ["a", "b", "c"]).save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_what_is_published_is_as_keras_predicts(classifier, capsys):
    pytest.importorskip("keras_hub")
    run("--model", classifier, "--format", "preset", "timm")
    assert capsys.readouterr().out.count("is as Keras predicts") == 2
    files = [x.name for x in classifier.parent.glob("mine_*/*")]
    for name in ("task.json", "class_names.json", "model.safetensors"):
        assert name in files


@pytest.mark.parametrize("name", ["preset", "timm"])
def test_what_is_published_again_keeps_its_card(name, classifier, monkeypatch):
    pytest.importorskip("keras_hub")
    folder = classifier.parent / f"mine_{name}"
    run("--model", classifier, "--format", name)
    files = {x.name: x.stat().st_mtime_ns for x in folder.iterdir()}
    mine = [folder / "README.md", folder / ".git/HEAD", folder / "a/b.json"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    run("--model", classifier, "--format", name)
    assert {x.read_text() for x in mine} == {"mine"}
    for file, time in files.items():
        assert (folder / file).stat().st_mtime_ns > time
    assert len(list(folder.iterdir())) == len(files) + len(mine)
    # Nothing is replaced by what is not as it should be.
    files = {x: x.stat().st_mtime_ns for x in folder.iterdir()}
    monkeypatch.setattr(export, "load", lambda *_: lambda x: 2 * x[:, 0, 0])
    with pytest.raises(SystemExit, match=f"{name} differs from Keras"):
        run("--model", classifier, "--format", name)
    assert files == {x: x.stat().st_mtime_ns for x in folder.iterdir()}


def test_what_is_published_in_a_storage_must_be_new(classifier, monkeypatch):
    place = export._place("timm", "gs://bucket/mine_timm")
    monkeypatch.setattr(storage, "exists", lambda path: True)
    with pytest.raises(FileExistsError, match="gs://bucket/mine_timm"):
        with place as temporary:
            pathlib.Path(temporary).mkdir()


@pytest.mark.parametrize("name", ["preset", "timm"])
def test_what_predicts_something_else_is_not_published(
    name, classifier, monkeypatch
):
    pytest.importorskip("keras_hub")
    front = fronts.read_front(keras.saving.load_model(classifier))
    mean = tuple(x + 0.1 for x in front.mean)
    for module in (tasks, timm_configs):
        monkeypatch.setattr(
            module, "read_front", lambda model: front._replace(mean=mean)
        )
    with pytest.raises(SystemExit, match=f"export: {name} differs from Keras"):
        run("--model", classifier, "--format", name)
    assert [x.name for x in classifier.parent.iterdir()] == ["mine.keras"]


def test_what_is_fused_is_not_published(classifier, capsys):
    with pytest.raises(SystemExit):
        run("--model", classifier, "--fuse", "--format", "onnx", "timm")
    assert "--fuse is not for timm" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="export: .*none.keras"):
        run("--model", "none.keras")


def test_every_option_has_a_test(saved):
    assert set(vars(export.parse(["--model", str(saved)]))) == OPTIONS


def make_detector(path, **options):
    keras.utils.set_random_seed(0)
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5, 7, 9), (1, 4, 4, 4), reduction=4
    )
    detector = RetinaNet(
        backbone,
        3,
        class_names=["a", "b", "ü"],
        image_size=(64, 96),
        confidence_threshold=0.0,
        max_detections=5,
        **options,
    )
    detector.save(path)
    return detector


@pytest.mark.large
def test_a_detector_is_exported_with_its_class_names(tmp_path, capsys):
    import tensorflow as tf

    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make_detector(tmp_path / "mine.keras")
    formats = ("saved_model", "onnx", "litert")
    run("--model", tmp_path / "mine.keras", "--format", *formats)
    lines = capsys.readouterr().out.splitlines()
    ends = "finds what Keras finds: 5 objects in a scene"
    assert len(lines) == 3 and all(line.endswith(ends) for line in lines)
    names = ["a", "b", "ü"]
    extra = tmp_path / "mine_saved_model/assets.extra/class_names.json"
    assert json.loads(extra.read_text()) == names
    model = onnx.load(tmp_path / "mine.onnx")
    (entry,) = (x for x in model.metadata_props if x.key == "class_names")
    assert json.loads(entry.value) == names
    shape = model.graph.input[0].type.tensor_type.shape
    assert [x.dim_value for x in shape.dim][1:] == [64, 96, 3]
    path = str(tmp_path / "mine.tflite")
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("class_names.json")) == names
    (image,) = tf.lite.Interpreter(path).get_input_details()
    assert image["shape"].tolist() == [1, 64, 96, 3]


def test_a_detector_that_finds_something_else_is_not_kept(
    tmp_path, monkeypatch
):
    make_detector(tmp_path / "mine.keras")

    def run_exported(path, form, images):
        return {
            "boxes": np.zeros((1, 5, 4)),
            "labels": np.zeros((1, 5)),
            "confidence": np.zeros((1, 5)),
            "num_detections": np.array([5]),
        }

    def write(detector, path, *arguments):
        pathlib.Path(path).mkdir()

    monkeypatch.setattr(RetinaNet, "export", write)
    monkeypatch.setattr(export.exported, "run_exported", run_exported)
    with pytest.raises(SystemExit, match="saved_model differs from Keras"):
        run("--model", tmp_path / "mine.keras")
    assert [x.name for x in tmp_path.iterdir()] == ["mine.keras"]


def test_a_varying_number_of_samples_becomes_a_fixed_one(
    tmp_path, monkeypatch, capsys
):
    seen = []

    class Other(RetinaNet):
        sampling_ratio = 0

        def predict(self, images, verbose):
            seen.append((self.sampling_ratio, images.shape))
            raise RuntimeError("seen")

    detector = make_detector(tmp_path / "mine.keras")
    detector.__class__ = Other
    monkeypatch.setattr(keras.saving, "load_model", lambda *a, **k: detector)
    arguments = ("--model", tmp_path / "mine.keras", "--image-size", 40)
    for formats in (["saved_model"], ["saved_model", "onnx"]):
        with pytest.raises(SystemExit, match="seen"):
            run(*arguments, "--batch-size", 2, "--format", *formats)
    assert seen == [(0, (2, 64, 64, 3)), (2, (2, 64, 64, 3))]
    assert "sampling_ratio=2 instead of 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", ["--fuse", "--format litert_int8", "--format saved_model timm"]
)
def test_a_detector_is_exported_as_it_is(tmp_path, option):
    make_detector(tmp_path / "mine.keras")
    with pytest.raises(SystemExit, match="Detectors are exported in float32"):
        run("--model", tmp_path / "mine.keras", *option.split())


def test_a_public_detector_is_loaded_by_its_name(monkeypatch):
    name = "retinanet_resnet50_fpn_1x_coco"
    monkeypatch.setattr(export, "load_trained", lambda name: {}[name])
    with pytest.raises(SystemExit, match=f"{name} cannot be used"):
        run("--model", name)


@pytest.mark.parametrize(
    "given, channels", [("onnx", 5), ("saved_model", 8), ("litert", 8)]
)
def test_onnx_is_fused_to_whole_vectors(
    given, channels, saved, exports, monkeypatch
):
    asked = []
    monkeypatch.setattr(export, "vector_lanes", lambda: 5)
    monkeypatch.setattr(
        export.keras_epsanet, "fuse", lambda *x: asked.append(x[1]) or x[0]
    )
    run("--model", saved, "--fuse", "--image-size", 32, "--format", given)
    assert asked == [channels]


def test_images_have_224_pixels_by_default(saved, exports):
    run("--model", saved, "--format", "litert")
    ((_, options),) = exports
    assert options["input_signature"][0].shape == (None, 224, 224, 3)
    assert options["verbose"] is False


def test_int8_is_exported_for_batches_of_their_size(saved, monkeypatch):
    asked = []

    def note(self, path, format, input_signature, verbose):
        asked.append((format, input_signature[0].shape))
        raise OSError("seen")

    monkeypatch.setattr(keras.Model, "export", note)
    batches = np.zeros((5, 3, 32, 24, 3), "float32")
    for size in (None, 3):
        with pytest.raises(OSError, match="seen"):
            export.write(make_model(), batches, "litert_int8", "none", size)
    assert asked == 2 * [("tf_saved_model", (3, 32, 24, 3))]


@pytest.mark.parametrize(
    "given, expected",
    [
        ("", [("tf_saved_model", (None, None, None, 3))]),
        (
            "--batch-size 2 --format litert saved_model",
            [
                ("litert", (2, 64, 96, 3)),
                ("tf_saved_model", (2, None, None, 3)),
            ],
        ),
        ("--format onnx --image-size 70", [("onnx", (None, 96, 96, 3))]),
    ],
)
def test_sizes_of_a_detector_are_those_asked_for(
    given, expected, tmp_path, monkeypatch, capsys
):
    asked = []

    class Detector(export.Detector):
        input_shape = (None, None, None, 3)

        def __init__(self):
            pass

        def predict(self, images, verbose):
            return len(images)

        def export(self, path, form, verbose, signature):
            open(path, "w").close()
            asked.append((form, signature[0].shape))

    monkeypatch.setattr(
        export.exported,
        "input_size",
        lambda detector, size: (64, 96) if size is None else (96, 96),
    )
    monkeypatch.setattr(
        export.exported,
        "run_exported",
        lambda path, form, images: len(images),
    )
    monkeypatch.setattr(
        export.exported,
        "check_equal",
        lambda found, expected, name: found + (found == expected),
    )
    args = export.parse(["--model", f"{tmp_path}/mine.keras", *given.split()])
    export.export_detector(Detector(), args)
    assert asked == expected
    number = 3 if "--batch-size" in given else 2
    line = f"finds what Keras finds: {number} objects in a scene"
    assert capsys.readouterr().out.count(line) == len(expected)
