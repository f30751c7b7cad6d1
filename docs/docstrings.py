"""What the site's API pages need beyond reading the sources.

An extension of Griffe, which reads the docstrings for mkdocstrings.
"""

import ast
import functools
import importlib
import inspect
import logging
import pathlib
import re
import sys

import griffe

ROOT = pathlib.Path(__file__).parent.parent
# MkDocs counts its warnings, and `--strict` makes them errors.
logger = logging.getLogger("mkdocs.docstrings")


class Docstrings(griffe.Extension):
    """Completes what Griffe read, and warns of public names without words."""

    def on_module_members(self, *, node, mod, agent, **kwargs):
        """Adds the names that a package imports on first use."""
        for name, target in lazy_names(node, mod.path):
            mod.set_member(name, griffe.Alias(name, target, parent=mod))

    def on_function(self, *, func, **kwargs):
        """Takes a docstring that is composed when the module is imported."""
        if func.docstring is None and func.path in composed_docstrings():
            text = composed_docstrings()[func.path]
            func.docstring = griffe.Docstring(text, parent=func)

    def on_attribute_instance(self, *, attr, **kwargs):
        """Shows the default of a recipe's field, without its check."""
        if str(attr.value).startswith("field("):
            attr.value = attr.value.arguments[0]

    def on_object(self, *, obj, **kwargs):
        """Writes Markdown for what Griffe leaves as it is."""
        if obj.docstring is not None:
            text = list_call_arguments(obj.docstring.value)
            obj.docstring.value = fence_examples(text)

    def on_package(self, *, pkg, **kwargs):
        if pkg.path == "keras_epsanet":
            for message in find_undocumented(documented_names()):
                logger.warning(message)


def lazy_names(node, package):
    """Yields the names of `attach(__name__, {module: names})` and targets."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "attach":
            for module, names in ast.literal_eval(call.args[1]).items():
                for name in names:
                    yield name, f"{package}.{module}.{name}"


@functools.cache
def composed_docstrings():
    """Docstrings that are no text in the source, by the functions' paths."""
    modules = [
        importlib.import_module(f"keras_epsanet.models.{name}")
        for name in ("variants", "resnet_variants")
    ]
    return {
        f"{module.__name__}.{name}": inspect.getdoc(value)
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value)
    }


def list_call_arguments(text):
    """Makes a list of what `call` takes, which would be one paragraph."""
    return re.sub(
        r"(?<=Call arguments:\n)(?:[ ]+\S.*\n)+",
        lambda section: re.sub(
            r"^([ ]{4})(\w+): ", r"\1- `\2`: ", section[0], flags=re.M
        ),
        text,
    )


def fence_examples(text):
    """Puts the examples of a docstring, up to a blank line, into fences."""
    return re.sub(
        r"^([ ]*)>>> (?:.*\S.*(?:\n|\Z))+",
        lambda x: f"{x[1]}```pycon\n{x[0].rstrip()}\n{x[1]}```\n",
        text.replace("  # doctest: +SKIP", ""),
        flags=re.M,
    )


def documented_names():
    """The names that the pages of the API show."""
    pages = sorted((ROOT / "docs/api").glob("*.md"))
    text = "\n".join(page.read_text() for page in pages)
    return re.findall(r"^::: (\S+)", text, re.M)


def find_undocumented(names):
    """Yields a message for every name, or method of a class, without words.

    Methods that Keras documents are left out, such as `build` and `call`, and
    properties that the docstring of the class explains.
    """
    sys.path.insert(0, str(ROOT))
    for name in names:
        module, _, last = name.rpartition(".")
        item = getattr(importlib.import_module(module), last)
        if not inspect.isroutine(item) and not inspect.isclass(item):
            continue  # A constant, whose words stand on the page.
        if not has_words(item):
            yield f"{name} has no docstring"
        for member in vars(item) if inspect.isclass(item) else ():
            if not member.startswith("_") and lacks_docstring(item, member):
                yield f"{name}.{member} has no docstring"


def has_words(item):
    """Whether a function or class has a docstring that somebody wrote."""
    # Of a class alone, for `inspect.getdoc` takes that of its base.
    text = vars(item).get("__doc__") if inspect.isclass(item) else item.__doc__
    # A dataclass without one gets its signature.
    return bool(text) and not text.startswith(f"{item.__name__}(")


def lacks_docstring(item, member):
    """Whether a method or property of a class is explained nowhere."""
    value = getattr(item, member)
    if not inspect.isroutine(value) and not isinstance(value, property):
        return False
    if inspect.getdoc(value) or is_of_keras(item, member):
        return False
    return f" {member}: " not in (inspect.getdoc(item) or "")


def is_of_keras(item, member):
    """Whether Keras gives a class, or its bases, a member of that name."""
    return any(
        member in vars(base)
        for base in item.__mro__
        if base.__module__.startswith("keras.")
    )
