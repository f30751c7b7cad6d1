"""Every line of code and every command of the README and the docs."""

import argparse
import configparser
import functools
import importlib
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from unittest import mock

import keras
import numpy as np
import pytest

import keras_epsanet
import keras_epsanet_command
from keras_epsanet.classification.models import build_classifier
from keras_epsanet.detection.mmdet_weights import detector_entries
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.training import ClassifierRecipe

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("**/*.md")),
    ]
}
SCRIPTS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("examples", "benchmarks", "tools")
    for path in sorted((ROOT / folder).glob("*.py"))
]
FENCE = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.M)
TINY = {
    "stackwise_num_blocks": (1, 1, 1, 1),
    "stackwise_num_filters": (16, 16, 32, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


def blocks(page, language):
    found = FENCE.findall(PAGES[page])
    return [code for kind, code in found if kind == language]


def spans(page):
    """The code within the sentences of a page."""
    text = FENCE.sub("", PAGES[page])
    return [" ".join(x.split()) for x in re.findall(r"`([^`]+)`", text)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    """So that no code is passed over: `text` is what is neither."""
    kinds = {kind for kind, _ in FENCE.findall(PAGES[page])}
    if page == "docs/cluster.md":
        kinds -= {"bash", "yaml"}  # tests/examples/test_cluster.py runs them.
    assert kinds <= {"python", "sh", "text"}
    assert PAGES[page].count("```") == 2 * len(FENCE.findall(PAGES[page]))


# Python


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Function that runs blocks in order, with a tiny network."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("written for TensorFlow")
    monkeypatch.chdir(tmp_path)
    for variant in MODEL_CONFIGS:
        monkeypatch.setitem(MODEL_CONFIGS, variant, TINY)

    def execute(page, names, shorter=()):
        code = "\n".join(blocks(page, "python"))
        for long, short in shorter:
            assert long in code
            code = code.replace(long, short)
        exec(compile(code, page, "exec"), names)
        return names

    return execute


@pytest.fixture
def eagerly():
    """For code that runs once, which is quicker than to trace it."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def names(tmp_path):
    """What the pages say that there is: images, labels, a trained model."""
    path = tmp_path / "runs/classifier/model.keras"
    path.parent.mkdir(parents=True)
    keras_epsanet.EPSANet50Small(classes=10).save(path)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3))
    return {
        "images": images.astype("uint8"),
        "labels": np.array([3, 1]),
        "keras": keras,
        "keras_epsanet": keras_epsanet,
    }


def test_code_of_the_readme_runs(run, eagerly, names, tmp_path):
    shorter = [("=200", "=2"), ("=20,", "=1,"), ("=100", "=1")]
    shorter += [("image_size=128", "image_size=64"), ("128, 128", "64, 64")]
    # Nothing is downloaded.
    shorter.append(('weights="resnext",', "input_shape=(96, 96, 3),"))
    run("README.md", names, shorter)
    assert names["attention"].shape == (None, 4, 32)
    assert set(names["features"].output) == {"P2", "P3", "P4", "P5"}
    detector = names["detector"]
    assert np.isfinite(detector.history.history["loss"]).all()
    # Those of the training, not 800 and 1333 pixels and numbers.
    assert detector.image_size == (64, 64)
    assert list(detector.class_names) == names["train"].class_names
    assert (tmp_path / "epsanet50.pth").is_file()


def test_code_of_the_page_on_convolutions_runs(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    shorter = [
        ("Small()", "Small(input_shape=(32, 32, 3))"),
        ('"auto")', '"auto", input_shape=(32, 32, 3))'),
        ("(224, 224, 3), batch_size=16", "(32, 32, 3), seconds=0.01"),
    ]
    run("docs/convolution.md", {}, shorter)
    assert "5×5 of 4 groups" in capsys.readouterr().out
    assert (tmp_path / "models/keras_epsanet/forms.json").is_file()


def test_code_of_the_layers_page_runs(run, names):
    run("docs/layers.md", names)
    assert names["attention"].shape == (None, 4, 32)


def test_code_of_the_models_page_runs(run, eagerly, names):
    run("docs/models.md", names)
    assert set(names["features"].output) == {"P2", "P3", "P4", "P5"}


def test_code_of_the_weights_page_runs(run, names, tmp_path):
    """With shallow networks in the files of the publishers."""
    names["shallow"] = {
        "stackwise_num_blocks": (1,),
        "stackwise_num_filters": (64,),
    }
    for attention, file in (
        ("eca", "eca_resnet50_k3557.pth.tar"),
        (
            keras_epsanet.attention.SE(use_bias=True),
            "seresnet50_a1_0-ffa00869.pth",
        ),
    ):
        network = keras_epsanet.ResNet50(attention, **names["shallow"])
        keras_epsanet.save_torch_weights(network, tmp_path / file)
    shorter = [
        (f"{end}, ", f"{end}, **shallow, ") for end in ('"eca"', "bias=True)")
    ]
    run("docs/weights.md", names, shorter)
    assert (tmp_path / "epsanet50.pth").is_file()
    assert names["model"].get_layer("conv2_block1_se").use_bias


def test_code_of_the_page_of_trained_starts_runs(run, names, monkeypatch):
    """With a tiny ResNet in the place of those that are downloaded."""
    sizes = {"input_shape": (64, 64, 3), "classes": 10}
    names["tiny"] = keras_epsanet.EPSANet(
        **{**TINY, "kernel_sizes": (3,), "groups": (1,)}, **sizes
    )
    names["images"] = names["images"][:, :64, :64].astype("float32")
    shorter = [
        ('weights="resnext"', ""),
        ('"resnet50.tv2"', "tiny"),
        ('weights="imagenet"', "weights=None, input_shape=(64, 64, 3)"),
        ("224, 224", "64, 64"),
    ]
    run("docs/trained_start.md", names, shorter)
    assert len(names["inherited"].fitted) == 4
    kinds = [type(layer).__name__ for layer in names["model"].layers]
    assert kinds.count("PSA") == 16


def test_code_of_the_imagenet_page_runs(run, tmp_path):
    network = keras_epsanet.EPSANet50Small()
    network.save_weights(tmp_path / "best.weights.h5")
    names = run("docs/imagenet.md", {"keras_epsanet": keras_epsanet})
    for array, wanted in zip(
        names["network"].get_weights(), network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(array, wanted)


def test_code_of_the_page_of_explanations_runs(run, names, tmp_path):
    pytest.importorskip("matplotlib")
    recipe = ClassifierRecipe(model="epsanet50_small", image_size=64)
    classes = [f"class {i}" for i in range(9)] + ["Sandal"]
    path = tmp_path / "runs/classifier/model.keras"
    keras.utils.set_random_seed(0)  # With it not all images are named rightly.
    build_classifier(recipe, classes).save(path)
    # That of the tiny network.
    shorter = [
        ("conv4_block6_out", "conv4_block1_out"),
        ("9×9", "5×5"),
        ('"photo.jpg", min_score=0.5', "image, max_detections=1"),
    ]
    names["image"] = np.full((30, 40, 3), 99.0)
    backbone = keras_epsanet.EPSANetBackbone(**TINY)
    names["detector"] = keras_epsanet.detection.RetinaNet(
        backbone, 3, image_size=(64, 96), confidence_threshold=0.0
    )
    run("docs/explain.md", names, shorter)
    assert names["maps"].shape == names["images"].shape[:3]
    assert 0 <= names["maps"].min() <= names["maps"].max() <= 1
    assert names["stages"]["conv2"].shape == (2, 2)
    assert list(names["ablation"].without) == [
        *(f"conv{i}" for i in range(2, 6)),
        "all",
    ]
    drawn = ("maps", "attention", "scales", "ablation", "found")
    for name in (*drawn, "calibration", "confusion", "mistakes"):
        assert (tmp_path / f"{name}.png").is_file()


def test_code_of_the_page_of_publishing_runs(run, eagerly, names, tmp_path):
    pytest.importorskip("keras_hub")
    recipe = ClassifierRecipe(model="epsanet50_small", image_size=64)
    path = tmp_path / "runs/classifier/model.keras"
    build_classifier(recipe, ["cat", "dog", "cow"]).save(path)
    preset = str(tmp_path / "preset")
    keras_epsanet.hub.save_preset(keras.saving.load_model(path), preset)
    shorter = [("hf://USER/NAME", preset), ("256", "64")]
    run("docs/publish.md", names, shorter)
    assert names["probabilities"].shape == (2, 3)
    assert names["names"] == ["cat", "dog", "cow"]
    assert names["detector"].predict(names["images"]).keys() >= {"boxes"}
    assert (tmp_path / "segmenter/task.json").is_file()
    assert names["task"].num_classes == names["network"].output_shape[1] == 3
    assert names["size"] == [3, 64, 64]


@pytest.mark.large
def test_code_of_the_deployment_page_runs(run, names, tmp_path):
    names["model"] = keras_epsanet.EPSANet50Small()
    run("docs/deployment.md", names)
    np.testing.assert_allclose(
        names["probabilities"], names["model"](names["x"]), atol=1e-5
    )
    for file in ("model.onnx", "model.tflite", "fused.onnx"):
        assert (tmp_path / file).is_file()


@pytest.mark.large
def test_code_of_the_detection_page_runs(run, tmp_path):
    pytest.importorskip("keras_cv")
    pytest.importorskip("keras_hub")
    random = np.random.default_rng(0)
    names = {"images": random.standard_normal((2, 64, 64, 3)).astype("float32")}
    shorter = [("256", "64"), ("=2000", "=2"), ("=200,", "=1,")]
    # Nothing is downloaded.
    shorter += [
        (
            '.from_pretrained("resnet50_fpn_1x_coco")',
            "(backbone, 80, image_size=(64, 64))",
        ),
        ('"photo.jpg"', "val.images[0].path"),
        ('"epoch_12.pth"', "state"),
        (
            "load_mmdet_weights(detector",
            "state = state_of(detector)\nload_mmdet_weights(detector",
        ),
    ]
    names["state_of"] = lambda model: {
        entry.key: entry.to_torch() for entry in detector_entries(model)
    }
    run("docs/detection.md", names, shorter)
    assert names["masks"].shape[1:] == (64, 64)
    for found in (names["of_file"], names["of_array"]):
        assert found["boxes"].shape[1] == 4
        assert np.isfinite(found["boxes"]).all()
    assert (tmp_path / "scenes/annotations/instances_val.json").is_file()


@pytest.mark.large
def test_code_of_the_page_of_detection_libraries_runs(run):
    pytest.importorskip("keras_cv")
    pytest.importorskip("keras_hub")
    random = np.random.default_rng(0)
    names = {
        "images": random.standard_normal((2, 64, 64, 3)).astype("float32"),
        "boxes": np.array([[[8, 8, 40, 40], [-1] * 4]] * 2, "float32"),
        "labels": np.array([[3, -1]] * 2),
        "segments": random.integers(0, 10, (2, 64, 64, 1)),
    }
    run("docs/detection_libraries.md", names, [("256", "64")])
    assert names["found"]["boxes"].shape == (2, 100, 4)
    for model in (names["detector"], names["segmenter"]):
        assert np.isfinite(model.history.history["loss"]).all()


@pytest.mark.large
def test_code_of_the_page_of_own_data_runs(run, tmp_path):
    pytest.importorskip("pycocotools")
    names = run("docs/own_data.md", {}, [("256", "64"), ("=192", "=48")])
    batch = next(iter(names["batches"]))
    assert batch["images"].shape[0] == 2 and "mask_grids" in batch
    for name in ("detector", "detector.tflite"):
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    "page", ["README.md", "docs/detection.md", "docs/own_data.md"]
)
def test_detectors_are_told_the_size_and_the_classes_of_their_training(page):
    code = "\n".join(blocks(page, "python"))
    made = re.findall(r"= (?:RetinaNet|MaskRCNN)\((.*?)\n\)", code, re.S)
    assert len(made) == code.count("= RetinaNet(") + code.count("= MaskRCNN(")
    for arguments in made:
        assert "image_size=" in arguments and "class_names=" in arguments


def test_every_page_with_code_is_run():
    source = pathlib.Path(__file__).read_text()
    run_above = set(re.findall(r'run\("([\w./]+)"', source))
    assert {page for page in PAGES if blocks(page, "python")} == run_above


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_exist_after_its_import(page):
    # But for programs, which `python -m` imports.
    names = re.findall(r"(?<!-m )\bkeras_epsanet((?:\.\w+)+)", PAGES[page])
    for name in set(names):
        parts = name.strip(".").split(".")
        functools.reduce(getattr, parts, keras_epsanet)


# Commands


class _Stop(Exception):
    pass


def run_main(module, run_name):
    importlib.import_module(module).main([])


@functools.cache
def parser_of(script):
    """The parser of a script's or a word's options, or `None`."""
    run, path = runpy.run_module, []
    if script in keras_epsanet_command.WORDS:
        script = f"keras_epsanet.commands.{script.replace('-', '_')}"
        run = run_main
    if script.endswith(".py"):
        text = (ROOT / script).read_text()
        if "argparse" not in text and "commands" not in text:
            return None
        run, script = runpy.run_path, str(ROOT / script)
        path = [str(pathlib.Path(script).parent)]
    found = []

    def stop(parser, *args, **kwargs):
        found.append(parser)
        raise _Stop

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "path", [*path, *sys.path]),
        warnings.catch_warnings(action="ignore"),  # Of a second import.
        pytest.raises(_Stop),
    ):
        run(script, run_name="__main__")
    return found[0]


def check_command(command):
    """Raises unless a command of a page can be given as it is printed."""
    words = shlex.split(command, comments=True)
    while words and (words[0] in ("until", "do") or "=" in words[0]):
        words = words[1:]
    if not words or words[0] in ("git", "cd", ".", "sleep", "done"):
        return
    if words[0] == "make":
        rules = (ROOT / "Makefile").read_text()
        assert all(f"\n{word}:" in rules for word in words[1:]), command
    elif words[:2] == ["pip", "install"]:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        extras = set(re.findall(r"\[(\w+)\]", command))
        assert extras <= set(config["options.extras_require"]), command
    elif words[0] == "hf":
        check_hf(words[1:])
    elif words[0] == "keras-epsanet":
        parser_of(words[1]).parse_args(words[2:])
    else:
        assert words[0] == "python", f"What is this? {command}"
        if words[1:3] == ["-m", "pytest"]:
            paths = [word for word in words[3:] if "/" in word]
            assert paths and all((ROOT / path).exists() for path in paths)
            return
        if words[1] == "-m":
            words = words[1:]
        else:
            assert words[1] in SCRIPTS, command
        parser = parser_of(words[1])
        if parser is None:
            assert len(words) == 2, f"has no options: {command}"
        else:
            parser.parse_args(words[2:])


def check_hf(words):
    """Raises unless the program of `huggingface_hub` takes these words."""
    pytest.importorskip("huggingface_hub")
    result = subprocess.run(
        [sys.executable, "-m", "huggingface_hub.cli.hf", *words],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    # It ends with 1 where the network is needed, with 2 after other words.
    assert result.returncode == 1, result.stderr


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_given_as_printed(page):
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    starts = ("python ", "make ", "pip install ", "KERAS_BACKEND=")
    starts += ("keras-epsanet ", "hf ")
    lines += [x for x in spans(page) if x.startswith(starts) and " " in x]
    for line in lines:
        for command in line.split(";"):
            check_command(command)


# Of other programs.
FOREIGN = {"--requeue", "--durations"}


def test_options_in_the_text_exist():
    options = set(FOREIGN)
    for script in filter(parser_of, [*SCRIPTS, *keras_epsanet_command.WORDS]):
        options.update(parser_of(script)._option_string_actions)
    for page in PAGES:
        for span in spans(page):
            if span.startswith("--"):
                named = set(re.findall(r"(?<!\S)--[\w-]+", span))
                assert named <= options, f"{page}: {span}"


# Links and names


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_project_lead_somewhere(page):
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", PAGES[page])):
        if not link.startswith(("https://", "#")):
            path = folder / link.partition("#")[0]
            assert path.is_file(), f"{page}: {link}"
            if page.startswith("docs/"):  # The site holds nothing else.
                assert path.resolve().is_relative_to(ROOT / "docs"), link


def test_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 130


def test_files_that_the_readme_names_exist():
    table = PAGES["README.md"].partition("## Where is what")[2]
    table = table.partition("---")[2]
    names = re.findall(r"^\|.*?\|(.*)\|$", table, re.M)
    files = re.findall(r"`([\w/]+(?:\.py|/))`", " ".join(names))
    assert len(files) > 8
    for file in files:
        assert (ROOT / "keras_epsanet" / file).exists(), file


def walks():
    """The files of every walk through the code, by its first words."""
    text = PAGES["CONTRIBUTING.md"].partition("## Four walks")[2]
    for walk in text.split("\n**")[1:]:
        yield walk[:30], re.findall(r"^\d+\. `([\w/.]+)`", walk, re.M)


@pytest.mark.parametrize("walk, files", list(walks()))
def test_a_walk_passes_files_that_exist_and_none_twice(walk, files):
    assert len(files) > 4 and len(set(files)) == len(files)
    for file in files:
        assert (ROOT / "keras_epsanet" / file).is_file(), file


def test_there_are_four_walks():
    assert len(list(walks())) == 4
