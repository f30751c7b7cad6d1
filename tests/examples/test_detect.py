import pathlib
import runpy
import sys

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/detect.py"


def test_the_script_runs_the_command(tmp_path, monkeypatch):
    arguments = ["detect.py", "image.png", "--run", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=f"detect: {tmp_path} cannot be used"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
