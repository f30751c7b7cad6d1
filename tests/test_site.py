"""What the site shows of the package, and that it misses nothing."""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pathlib
import re

import keras
import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = [
    "keras_epsanet",
    "keras_epsanet.attention",
    "keras_epsanet.layers",
    "keras_epsanet.models",
    "keras_epsanet.weights",
    "keras_epsanet.distribution",
    "keras_epsanet.data",
    "keras_epsanet.data.imagenet",
    "keras_epsanet.data.coco",
    "keras_epsanet.training",
    "keras_epsanet.detection",
    "keras_epsanet.explain",
    "keras_epsanet.hub",
]


def shown_names():
    text = "\n".join(
        path.read_text() for path in (ROOT / "docs/api").glob("*.md")
    )
    return re.findall(r"^::: (\S+)", text, re.M)


def find(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


@pytest.fixture(scope="module")
def docstrings():
    """The site's extension of Griffe."""
    pytest.importorskip("griffe")
    path = ROOT / "docs/docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_place_in_the_api(package):
    shown = [find(name) for name in shown_names()]
    module = importlib.import_module(package)
    missing = [
        name
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
        and not any(getattr(module, name) is item for item in shown)
    ]
    assert not missing


def test_no_name_is_shown_twice():
    names = shown_names()
    assert len(set(names)) == len(names)


def test_every_name_that_is_shown_has_a_docstring(docstrings):
    assert list(docstrings.find_undocumented(shown_names())) == []


class Undocumented(keras.layers.Layer):
    def run(self):
        pass

    @property
    def size(self):
        pass


def test_missing_docstrings_are_found(docstrings, monkeypatch):
    layers = importlib.import_module("keras_epsanet.layers")
    monkeypatch.setattr(layers, "PSA", Undocumented)
    name = "keras_epsanet.layers.PSA"
    assert list(docstrings.find_undocumented([name])) == [
        f"{name} has no docstring",
        f"{name}.run has no docstring",
        f"{name}.size has no docstring",
    ]


@dataclasses.dataclass
class UndocumentedData:
    size: int


def test_a_signature_is_no_docstring(docstrings):
    assert not docstrings.has_words(UndocumentedData)
    assert docstrings.has_words(docstrings.find_undocumented)


def test_names_that_are_imported_on_first_use_are_read(docstrings):
    source = ROOT / "keras_epsanet/training/__init__.py"
    names = dict(
        docstrings.lazy_names(ast.parse(source.read_text()), "training")
    )
    assert names["SGDL2"] == "training.sgd_l2.SGDL2"


def test_composed_docstrings_are_those_of_the_functions(docstrings):
    path = "keras_epsanet.models.variants.EPSANet101Large"
    assert (
        "Builds EPSANet101Large: 49.59 M"
        in docstrings.composed_docstrings()[path]
    )


def test_call_arguments_become_a_list(docstrings):
    text = "Call arguments:\n    x: A\n        b: c.\n    y: D.\n\nz: E\n"
    assert docstrings.list_call_arguments(text) == (
        "Call arguments:\n    - `x`: A\n        b: c.\n    - `y`: D.\n\nz: E\n"
    )


def test_examples_become_code(docstrings):
    text = "Words.\n\n>>> f(\n...     1)\n2\n\nMore."
    assert docstrings.fence_examples(text) == (
        "Words.\n\n```pycon\n>>> f(\n...     1)\n2\n```\n\nMore."
    )
