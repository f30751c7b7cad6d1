import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_epsanet

if keras.backend.backend() != "tensorflow":
    pytest.skip("the script needs TensorFlow", allow_module_level=True)

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
COLORS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}
TINY = "--model tiny --image-size 32 --batch-size 6".split()


def write_images(folder, each, colors=COLORS):
    """Writes colored images of different sizes, a folder for each color."""
    random = np.random.default_rng(0)
    for name, color in colors.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            size = *random.integers(20, 50, 2), 3
            image = color + random.integers(-30, 30, size)
            keras.utils.save_img(folder / name / f"{i}.png", image, scale=False)
    return folder


def command(*arguments):
    script = EXAMPLES / "train_classifier.py"
    return [sys.executable, str(script), *map(str, arguments)]


def run_script(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = write_images(tmp_path_factory.mktemp("images"), each=10)
    (folder / "red" / "0b.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def training(images, tmp_path_factory):
    """Output folder and printed lines of a training of three epochs."""
    output = tmp_path_factory.mktemp("runs") / "colors"
    result = run_script(
        "--data", images, *TINY, "--epochs", 3, "--output", output
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return output, result.stdout, result.stderr


def test_a_training_learns_and_every_export_agrees(training):
    output, stdout, _ = training
    results = json.loads((output / "results.json").read_text())
    assert results["top1"] == 1 and "top5" not in results
    assert "model(x), SavedModel, LiteRT, ONNX of model.keras agree" in stdout
    assert "The first step takes a minute" in stdout


def test_undecodable_image_is_named_once(training):
    _, stdout, stderr = training
    assert stderr.count("0b.png cannot be decoded") == 1
    assert "Skipped 1 image file(s)" in stdout
    # Of Keras, about images that it does not count.
    assert "ran out of data" not in stderr


def test_model_takes_bytes_and_floats_of_any_size(training):
    output, _, _ = training
    model = keras.saving.load_model(output / "model.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 70, 3), "uint8")
    of_bytes = model(image)
    np.testing.assert_allclose(np.sum(of_bytes), 1, rtol=1e-5)
    np.testing.assert_array_equal(of_bytes, model(image.astype("float32")))
    assert model.layers[-1].names == tuple(COLORS)


def test_network_with_other_classes_loads_the_model(training):
    output, _, _ = training
    file = output / "model.keras"
    with pytest.warns(UserWarning) as caught:
        network = keras_epsanet.EPSANet(
            (1, 1),
            (64, 128),
            (3, 5),
            (1, 4),
            weights=file,
            input_shape=(32, 32, 3),
            classes=7,
        )
    assert len(caught) == 1
    assert "has 3 classes, the model's 7" in str(caught[0].message)
    saved = keras.saving.load_model(file)
    for name in ("conv1_conv", "conv2_block1_psa", "conv3_block1_3_bn"):
        for weight, expected in zip(
            network.get_layer(name).get_weights(),
            saved.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(weight, expected)


def test_ctrl_c_saves_and_ends_with_a_line(images, tmp_path):
    arguments = (
        *("--data", images, *TINY, "--epochs", 500),
        *("--checkpoint-steps", 100000, "--output", tmp_path / "run"),
    )
    with open(tmp_path / "output.txt", "w") as file:
        process = subprocess.Popen(
            command(*arguments),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    limit = time.monotonic() + 240
    while "Epoch 2/" not in (tmp_path / "output.txt").read_text():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(240) == 130
    text = (tmp_path / "output.txt").read_text()
    assert "Traceback" not in text
    assert text.splitlines()[-1].startswith(
        "train_classifier: stopped after step "
    )
    saved = {
        int(path.name.split("-")[1])
        for path in (tmp_path / "run" / "checkpoints").iterdir()
    }
    assert f"after step {max(saved)} of 2,500" in text


@pytest.mark.large
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_devices_share_batches_and_13_images(devices, run_python, tmp_path):
    colors = dict(list(COLORS.items())[:2])
    write_images(tmp_path / "train", 20, colors)
    write_images(tmp_path / "val", 7, colors)
    (tmp_path / "val" / "blue" / "6.png").unlink()
    output = run_python(
        f"""
import runpy, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * {devices}
)
sys.argv = ["train_classifier.py", "--data", {str(tmp_path)!r}, "--output",
            {str(tmp_path / "run")!r}, *{TINY!r}, "--epochs", "3"]
runpy.run_path({str(EXAMPLES / "train_classifier.py")!r}, run_name="__main__")
"""
    )
    assert f"tiny on {devices} device(s): 2 classes, 40 images" in output
    assert "13 held out" in output and "agree" in output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["top1"] == 1


@pytest.mark.large
def test_a_model_that_was_initialized_is_read_elsewhere(
    images, tmp_path, run_python
):
    resnet = keras_epsanet.EPSANet(
        (1, 1), (64, 128), (3,), (1,), input_shape=(32, 32, 3), classes=7
    )
    resnet.save(tmp_path / "resnet.keras")
    output = tmp_path / "run"
    result = run_script(
        *("--data", images, *TINY, "--epochs", 1, "--output", output),
        *("--inherit", tmp_path / "resnet.keras"),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    text = result.stdout
    assert "model(x), SavedModel, LiteRT, ONNX of model.keras agree" in text
    note = (output / "initialized_from.txt").read_text()
    assert "Initialized from ResNet-8: " in note and "2 modules fitted" in note
    x = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 3), "uint8")
    np.save(tmp_path / "x.npy", x)
    run_python(
        "import keras, keras_epsanet, numpy as np;"
        "model = keras.saving.load_model('run/model.keras');"
        "np.save('y.npy', model.predict(np.load('x.npy'), verbose=0))"
    )
    model = keras.saving.load_model(output / "model.keras")
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), atol=1e-6
    )
