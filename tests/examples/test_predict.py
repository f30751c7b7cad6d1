import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_epsanet.layers import ClassNames, Resizing

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/predict.py"


def test_the_script_names_what_an_image_shows(tmp_path):
    image = keras.Input((None, None, 3))
    x = keras.layers.Flatten()(Resizing(1, 1)(image))
    model = keras.Model(image, ClassNames(["red", "green", "blue"])(x))
    model.save(tmp_path / "model.keras")
    picture = np.array([[[250, 1, 2]]])
    keras.utils.save_img(tmp_path / "a.png", picture, scale=False)
    result = subprocess.run(
        [sys.executable, SCRIPT, "a.png", "none.png"]
        + ["--model", "model.keras", "--top", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == "a.png"
    assert result.stdout.split()[-1] == "red"
    assert "predict: 1 of 2 images skipped" in result.stderr
    assert "Traceback" not in result.stderr
