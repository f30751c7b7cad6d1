"""What the tests of the benchmarks share."""

import importlib
import pathlib
import sys

import keras
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Function that imports a script of a name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name):
        for variable in ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS"):
            monkeypatch.setenv(variable, keras.backend.backend())
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load
