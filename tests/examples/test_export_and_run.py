import json
import pathlib
import re
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_epsanet.data.fashion_mnist import CLASS_NAMES

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported on TensorFlow", allow_module_level=True)
pytest.importorskip("onnxruntime")

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/export_and_run.py"


def test_the_names_are_those_of_the_pictures():
    assert runpy.run_path(SCRIPT)["NAMES"] == CLASS_NAMES


@pytest.mark.large
def test_the_export_runs_without_keras_and_tensorflow(tmp_path, capsys):
    path = f"{tmp_path}/clothes.onnx"
    runpy.run_path(SCRIPT)["main"](number=64, epochs=1, path=path)
    text = capsys.readouterr().out
    assert "right by ONNX Runtime" in text
    difference = re.search(r"(\S+) the largest difference", text)[1]
    assert float(difference) < 1e-4
    picture = np.zeros((40, 30, 3))
    keras.utils.save_img(f"{tmp_path}/a.png", picture, scale=False)
    code = f"""
import json, runpy, sys
sys.argv = ["export_and_run.py", {path!r}, {f"{tmp_path}/a.png"!r}]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
print(json.dumps(sorted(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    line, modules = result.stdout.splitlines()
    assert re.fullmatch(rf"{tmp_path}/a.png: .+ [\d.]+%", line)
    imported = {name.partition(".")[0] for name in json.loads(modules)}
    assert not imported & {"keras", "keras_epsanet", "tensorflow"}
