import importlib
import sys

import pytest

import keras_epsanet  # noqa: F401
from keras_epsanet.moved import MOVED, keep_former_names


@pytest.mark.parametrize("former, new", MOVED.items())
def test_a_former_name_gives_the_module_and_a_warning(former, new):
    sys.modules.pop(former, None)
    module = importlib.import_module(new)
    spec = module.__spec__
    with pytest.warns(DeprecationWarning, match=f"{former} is {new} now"):
        assert importlib.import_module(former) is module
    assert module.__spec__ is spec and spec.name == module.__name__ == new


def test_one_finder_is_enough():
    number = len(sys.meta_path)
    keep_former_names()
    assert len(sys.meta_path) == number


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras_epsanet.training.nothing")
