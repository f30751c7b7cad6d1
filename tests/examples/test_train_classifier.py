import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_epsanet

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}


def write_images(folder, each=5):
    """Writes coloured images of different sizes, a folder for each colour."""
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            size = *random.integers(20, 50, 2), 3
            image = colour + random.integers(-30, 30, size)
            keras.utils.save_img(folder / name / f"{i}.png", image, scale=False)
    return folder


def run_script(name, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = write_images(tmp_path_factory.mktemp("images"))
    (folder / "red" / "0b.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def training(images, tmp_path_factory):
    """Output folder and printed lines of a training of one epoch."""
    output = tmp_path_factory.mktemp("runs") / "colours"
    options = f"--image-size 32 --epochs 1 --batch-size 4 --output {output}"
    result = run_script(
        "train_classifier.py", "--data", images, *options.split()
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return output, result.stdout, result.stderr


def test_training_leaves_the_model_and_pictures(training):
    output, _, _ = training
    names = sorted(path.name for path in output.iterdir())
    assert names == ["curves.png", "model.keras", "predictions.png"]


def test_reloaded_model_is_as_accurate(training):
    _, stdout, _ = training
    trained, reloaded = re.findall(r"(?:Trained|Reloaded): (.*)", stdout)
    assert trained == reloaded and "top-1" in trained


@pytest.mark.large
def test_two_devices_share_each_batch(images, run_python, tmp_path):
    output = run_python(
        f"""
import runpy, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.argv = ["train_classifier.py", "--data", {str(images)!r}, "--output",
            {str(tmp_path)!r}, *"--image-size 32 --epochs 1".split()]
runpy.run_path({str(EXAMPLES / "train_classifier.py")!r}, run_name="__main__")
"""
    )
    assert "epsanet50_small on 2 device(s)" in output
    trained, reloaded = re.findall(r"(?:Trained|Reloaded): (.*)", output)
    assert trained == reloaded and "top-1" in trained


@pytest.mark.large
def test_frozen_training_changes_the_classifier_alone(
    training, images, tmp_path
):
    output, _, _ = training
    options = "--freeze --classes 3 --image-size 32 --epochs 1 --batch-size 4"
    result = run_script(
        "train_classifier.py", "--data", images, *options.split(),
        "--weights", output / "model.keras", "--output", tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    before, after = (
        keras.saving.load_model(folder / "model.keras").weights
        for folder in (output, tmp_path)
    )
    changed = {
        old.path
        for old, new in zip(before, after, strict=True)
        if not np.array_equal(old.numpy(), new.numpy())
    }
    assert changed == {"predictions/kernel", "predictions/bias"}


@pytest.mark.parametrize(
    "options, message",
    [("--freeze", "needs --weights"), ("--classes 4", "have 3 classes")],
)
def test_what_cannot_be_fine_tuned_is_refused(images, options, message):
    result = run_script(
        "train_classifier.py", "--data", images, *options.split()
    )
    assert result.returncode and message in result.stderr


def test_undecodable_image_is_named(training):
    _, _, stderr = training
    assert stderr.count("0b.png cannot be decoded") == 1


def test_model_takes_bytes_and_floats_of_any_size(training):
    output, _, _ = training
    model = keras.saving.load_model(output / "model.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 70, 3), "uint8")
    of_bytes = model(image)
    np.testing.assert_allclose(np.sum(of_bytes), 1, rtol=1e-5)
    np.testing.assert_array_equal(of_bytes, model(image.astype("float32")))
    assert model.layers[-1].names == tuple(COLOURS)


def test_network_with_other_classes_loads_the_model(training):
    output, _, _ = training
    file = output / "model.keras"
    with pytest.warns(UserWarning) as caught:
        network = keras_epsanet.EPSANet50Small(
            weights=file, input_shape=(32, 32, 3), classes=7
        )
    assert len(caught) == 1
    assert "has 3 classes, the model's 7" in str(caught[0].message)
    saved = keras.saving.load_model(file)
    for name in ("conv1_conv", "conv5_block3_psa", "conv5_block3_3_bn"):
        for weight, expected in zip(
            network.get_layer(name).get_weights(),
            saved.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(weight, expected)


def test_predict_names_classes_and_skips_what_is_no_image(training, images):
    output, _, _ = training
    good, bad = images / "blue" / "0.png", images / "red" / "0b.png"
    model = ("--model", output / "model.keras")
    result = run_script("predict.py", good, bad, "none.png", *model)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0] == str(good)
    predicted = [re.fullmatch(r" +([\d.]+)%  (\w+)", x) for x in lines[1:]]
    assert sorted(match[2] for match in predicted) == sorted(COLOURS)
    probabilities = [float(match[1]) for match in predicted]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(100, abs=0.2)
    for path in (bad, "none.png"):
        assert f"predict: {path} cannot be decoded" in result.stderr
    assert "Traceback" not in result.stderr


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_predict_succeeds_if_all_are_images(
    training, images, monkeypatch, capsys
):
    model = str(training[0] / "model.keras")
    arguments = [str(images / "red" / "1.png"), "--model", model, "--top", "1"]
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    load_script("predict").main()
    assert len(capsys.readouterr().out.splitlines()) == 2


def message_of(name, arguments, monkeypatch, capsys):
    """Runs a script that must exit with a message, and returns that."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as caught:
        load_script(name).main()
    if isinstance(caught.value.code, str):
        return caught.value.code
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--data none", "must be a folder that exists"),
        ("--image-size 16", "at least 32 pixels"),
        ("--image-size big", "invalid int value: 'big'"),
        ("--epochs 0", "0 is not positive"),
        ("--batch-size -1", "-1 is not positive"),
        ("--learning-rate inf", "inf is not positive"),
        ("--learning-rate nan", "nan is not positive"),
        ("--model resnet", "invalid choice: 'resnet'"),
        ("--weights none.keras", "There is no file none.keras"),
        ("--weights imagenet", "There are no ImageNet weights"),
        ("--seed -1", "Seed must be"),
        ("--data a --tfds b", "not allowed with"),
        ("--tfds none", "must be a dataset of TensorFlow Datasets"),
    ],
)
def test_bad_option_ends_with_one_line(
    arguments, message, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    text = message_of(
        "train_classifier", arguments.split(), monkeypatch, capsys
    )
    assert text.startswith("train_classifier") and message in text
    assert "\n" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("a.png --model none.keras", "none.keras cannot be used: "),
        ("a.png --top 0", "invalid choice: 0"),
    ],
)
def test_predict_ends_with_one_line(arguments, message, monkeypatch, capsys):
    text = message_of("predict", arguments.split(), monkeypatch, capsys)
    assert text.startswith("predict") and message in text
    assert "\n" not in text


def test_predict_refuses_a_model_without_class_names(
    monkeypatch, capsys, tmp_path
):
    image = keras.Input((32, 32, 3))
    keras.Model(image, image).save(tmp_path / "model.keras")
    arguments = ["a.png", "--model", str(tmp_path / "model.keras")]
    text = message_of("predict", arguments, monkeypatch, capsys)
    assert text.endswith("it has no layer ClassNames")


def parse(monkeypatch, *arguments):
    script = load_script("train_classifier")
    monkeypatch.setattr(sys, "argv", ["train_classifier", *map(str, arguments)])
    return script, script.parse_args()


@pytest.mark.parametrize("name", ["val", "test"])
def test_folders_of_a_parted_dataset_are_used(name, monkeypatch, tmp_path):
    write_images(tmp_path / "train", each=3)
    write_images(tmp_path / name, each=2)
    script, args = parse(monkeypatch, "--data", tmp_path)
    train, held_out = script.load_data(args)
    assert (train.num_images, held_out.num_images) == (9, 6)


def test_parts_with_different_classes_are_refused(monkeypatch, tmp_path):
    write_images(tmp_path / "train", each=1)
    write_images(tmp_path / "val", each=1)
    (tmp_path / "val" / "blue").rename(tmp_path / "val" / "white")
    script, args = parse(monkeypatch, "--data", tmp_path)
    with pytest.raises(ValueError, match=r"same classes.*'blue'.*'white'"):
        script.load_data(args)


def test_grey_images_become_rgb_batches(monkeypatch):
    script, args = parse(monkeypatch, "--image-size", 40)
    _, held_out = script.load_data(args)
    images, classes = next(iter(script.make_batches(held_out, args)))
    assert images.shape == (64, 40, 40, 3) and classes.shape == (64, 10)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_training_batches_go_on_in_a_new_order(monkeypatch, tmp_path):
    write_images(tmp_path, each=10)
    script, args = parse(monkeypatch, "--data", tmp_path, "--batch-size", 24)
    train, _ = script.load_data(args)
    batches = iter(script.make_batches(train, args, training=True))
    first, second = (next(batches)[1].numpy() for _ in range(2))
    assert first.sum(axis=0).tolist() == [8, 8, 8]
    assert second.sum(axis=0).tolist() == [8, 8, 8]
    assert (first != second).any()


@pytest.mark.parametrize("splits", [["train"], ["train", "test"]])
def test_tfds_holds_out_a_part_of_its_own(splits, monkeypatch):
    class Part:
        def __init__(self, name, split):
            self.split, self.splits = split, splits

    script, args = parse(monkeypatch, "--tfds", "fruits")
    monkeypatch.setattr(script.data, "tfds", Part)
    train, held_out = script.load_data(args)
    assert (train.split, held_out.split) == (
        ("train", "test")
        if "test" in splits
        else ("train[:80%]", "train[80%:]")
    )
