import doctest
import importlib
import inspect
import pkgutil

import keras
import pytest

import keras_epsanet

# Documented examples of TensorFlow's data pipelines.
TENSORFLOW_ONLY = (
    "keras_epsanet.data",
    "keras_epsanet.distribution",
)
MODULES = [
    module.name
    for module in pkgutil.walk_packages(
        keras_epsanet.__path__, "keras_epsanet."
    )
    if keras.backend.backend() == "tensorflow"
    or not module.name.startswith(TENSORFLOW_ONLY)
]


def public_objects():
    for module in (
        keras_epsanet,
        keras_epsanet.attention,
        keras_epsanet.layers,
    ):
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                yield getattr(module, name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    results = doctest.testmod(module, raise_on_error=False)
    assert results.failed == 0


@pytest.mark.parametrize(
    "item", list(public_objects()), ids=lambda item: item.__name__
)
def test_public_docstrings_are_complete(item):
    doc = inspect.getdoc(item)
    assert doc and "Args:" in doc
    target = item.__init__ if inspect.isclass(item) else item
    for name in inspect.signature(target).parameters:
        if name != "self":
            assert name in doc, f"{item.__name__} does not explain {name}"
