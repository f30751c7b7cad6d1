"""Several workers train and evaluate together, on the loopback interface."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from two_workers import SCRIPT, start_workers, supervise, texts

from keras_epsanet import EPSANet, EPSANet50Small
from keras_epsanet.classification.imagenet.smoke import write_images

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)


NOTED = f"""
import json, os, runpy, sys
import numpy as np
from keras_epsanet.classification.imagenet import starting
from keras_epsanet.training import trained_start

index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
start, write_file = starting.start, trained_start.write_file

def note(*arguments):
    started = start(*arguments)
    np.savez(f"start-{{index}}.npz", *[v.numpy() for v in started[0].variables])
    return started

def write(path, text):
    print("writes", os.path.basename(path), flush=True)
    write_file(path, text)

starting.start, trained_start.write_file = note, write
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.mark.large
def test_workers_start_alike_from_a_resnet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resnet = EPSANet(
        (1, 1), (64, 128), (3,), (1,), input_shape=(32, 32, 3), classes=10
    )
    resnet.save("resnet.keras")
    pathlib.Path("noted.py").write_text(NOTED)
    output = tmp_path / "run"
    options = "--inherit resnet.keras --epochs 1 --decay-epochs 1".split()
    processes = start_workers(output, *options, script="noted.py")
    assert supervise(processes, 400) == [0, 0], texts(output)
    first, second = (np.load(f"start-{index}.npz") for index in range(2))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    kernel = keras.ops.convert_to_numpy(resnet.get_layer("conv1_conv").kernel)
    np.testing.assert_array_equal(first["arr_0"], kernel)
    written = ["writes initialized_from.txt" in text for text in texts(output)]
    assert written == [True, False]
    note = (output / "initialized_from.txt").read_text()
    assert note.startswith("resnet.keras\nInitialized from ResNet-8: ")
    assert "2 modules fitted" in note


EVALUATED = """
import json, os
import keras_epsanet_command
keras_epsanet_command.set_variables()
from keras_epsanet.classification.imagenet import evaluation
from keras_epsanet.commands import evaluate

alone = '{"task": {"index": "alone"}}'
index = json.loads(os.environ.get("TF_CONFIG", alone))["task"]["index"]
compute = evaluation.evaluate

def note(*arguments):
    result = compute(*arguments)
    with open(f"result-{index}.json", "w") as file:
        json.dump(result, file)
    return result

evaluation.evaluate = note
evaluate.main()
"""


@pytest.mark.large
def test_workers_evaluate_every_image_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Of 11 and of 10 images: one that counted twice, or not, would be seen.
    write_images("images", 30, 21)
    network = EPSANet50Small(input_shape=(None, None, 3), classes=10)
    network.save_weights("some.weights.h5")
    pathlib.Path("evaluated.py").write_text(EVALUATED)
    options = "--weights some.weights.h5 --data images --image-size 32"
    options = [*options.split(), "--batch-size", "4"]
    command = [sys.executable, "evaluated.py", *options]
    alone = subprocess.run(command, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr[-3000:]
    processes = start_workers("two", *options, script=command[1], smoke=False)
    assert supervise(processes, 400) == [0, 0], texts("two")
    row = alone.stdout.splitlines()[-1]
    assert row.startswith("epsanet50_small")
    assert [row in text for text in texts("two")] == [True, False]
    results = [
        json.loads(pathlib.Path(f"result-{name}.json").read_text())
        for name in ("alone", 0, 1)
    ]
    for found in results[1:]:
        for name, value in results[0].items():
            assert found[name] == pytest.approx(value, rel=1e-5), name
