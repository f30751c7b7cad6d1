import importlib
import sys

import pytest

import keras_epsanet
from keras_epsanet.moved import MOVED, keep_former_names


@pytest.mark.parametrize("former, new", MOVED.items())
def test_a_former_name_gives_the_module_and_a_warning(former, new):
    sys.modules.pop(former, None)
    module = importlib.import_module(new)
    spec = module.__spec__
    with pytest.warns(DeprecationWarning, match=f"{former} is {new} now"):
        assert importlib.import_module(former) is module
    assert module.__spec__ is spec and spec.name == module.__name__ == new


@pytest.mark.parametrize(
    "line",
    [
        "import keras_epsanet.torch_weights",
        "from keras_epsanet import torch_weights",
        "importlib.import_module('keras_epsanet.torch_weights')",
        "keras_epsanet.torch_weights",
    ],
)
def test_the_warning_names_the_line_of_the_user(line):
    sys.modules.pop("keras_epsanet.torch_weights", None)
    vars(keras_epsanet).pop("torch_weights", None)
    code = f"import importlib, keras_epsanet\n\n{line}\n"
    names = {"__name__": "users"}
    with pytest.warns(DeprecationWarning) as caught:
        exec(compile(code, "users.py", "exec"), names)
    (warning,) = caught
    assert (warning.filename, warning.lineno) == ("users.py", 3)
    assert "__warningregistry__" in names


def test_one_finder_is_enough():
    number = len(sys.meta_path)
    keep_former_names()
    assert len(sys.meta_path) == number


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras_epsanet.training.nothing")
