import importlib
import sys
import types

import pytest

import keras_epsanet
from keras_epsanet import lazy


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose module `one` is imported when it is used."""
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from keras_epsanet.lazy import attach\n"
        "__getattr__, __dir__, __all__ = attach(\n"
        "    __name__, {'one': ['first', 'second']}\n"
        ")\n"
    )
    (folder / "one.py").write_text("first, second = 1, 2\n")
    (folder / "two.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("lazy_package")
    for name in [x for x in sys.modules if x.startswith("lazy_package")]:
        del sys.modules[name]


def test_a_name_imports_its_module_when_it_is_used(package):
    assert package.__all__ == ["first", "second"]
    assert {"first", "second"} < set(dir(package))
    assert "lazy_package.one" not in sys.modules
    assert package.second == 2
    assert "lazy_package.one" in sys.modules
    assert vars(package)["second"] == 2  # Found without a call from now on.


def test_modules_are_attributes(package):
    assert isinstance(package.one, types.ModuleType)
    from lazy_package import one

    assert package.one is one


def test_what_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="lazy_package.*no attribute 'x'"):
        package.x  # noqa: B018
    assert not hasattr(package, "__wrapped__")


def test_what_a_module_lacks_is_named(package):
    with pytest.raises(ModuleNotFoundError, match="that_is_missing"):
        package.two  # noqa: B018


@pytest.mark.parametrize("name", ["data", "detection", "training"])
def test_every_public_name_is_there(name):
    public = getattr(keras_epsanet, name)
    assert set(public.__all__) <= set(dir(public))
    for each in public.__all__:
        assert getattr(public, each) is not None
    assert lazy.attach(public.__name__, {})[2] == []


def test_former_modules_are_attributes_too():
    sys.modules.pop("keras_epsanet.torch_weights", None)
    vars(keras_epsanet).pop("torch_weights", None)
    with pytest.warns(DeprecationWarning, match="weights.torch_names now"):
        module = keras_epsanet.torch_weights
    assert module is keras_epsanet.weights.torch_names
