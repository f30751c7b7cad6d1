"""What the fields of a recipe mean, for the help of a command line."""

import dataclasses
import inspect
import re

_TYPE = re.compile(r"^(Integer|Float|Number|Name)(?=,)(, )")
_SAME = "As in `Recipe`"


def describe_fields(cls):
    """Returns what the docstrings of a recipe say of its fields.

    Args:
        cls: Class of a recipe.

    Returns:
        Dictionary from the names of the fields to a sentence without its
        point, in which fields are options; to the names themselves where
        there are no docstrings, as in `python -OO`.

    Example:

    >>> from keras_epsanet.training import CocoRecipe
    >>> describe_fields(CocoRecipe)["decay_factor"]
    'what the learning rate is multiplied by when it falls'
    """
    texts = {}
    for kind in reversed(cls.__mro__):
        if dataclasses.is_dataclass(kind):
            for name, text in _read_arguments(kind).items():
                if text.startswith(_SAME):
                    text = texts[name] + text.removeprefix(_SAME)
                texts[name] = text
    fields = [field.name for field in dataclasses.fields(cls)]
    return {name: _as_option(texts.get(name, name), fields) for name in fields}


def _read_arguments(cls):
    """The texts of a docstring's part `Args:`, by their names."""
    doc = inspect.cleandoc(cls.__doc__)
    part = re.search(r"^Args:\n((?: +.*\n|\n)+)", f"{doc}\n", re.M)
    texts = {}
    if part is None:
        return texts
    for entry in re.split(r"\n(?= {4}\S)", f"\n{part[1]}")[1:]:
        names, _, text = entry.partition(":")
        for name in names.split(","):
            texts[name.strip()] = " ".join(text.split()).removesuffix(".")
    return texts


def _as_option(text, fields):
    text = _TYPE.sub("", text)
    for name in fields:
        text = text.replace(f"`{name}`", f"--{name.replace('_', '-')}")
    text = text.replace("`None`", "none").replace("`", "").replace('"', "")
    return text[:1].lower() + text[1:]


def format_value(value):
    """Returns a value as a command line takes it.

    Args:
        value: Value of a field.

    Example:

    >>> format_value((8, 11)), format_value(None), format_value(True)
    ('8,11', 'none', 'yes')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)


def format_expected(expected):
    """Returns what a field may hold, as a command line takes it.

    Args:
        expected: String, as in `Kind`.

    Example:

    >>> format_expected("a positive number or a tuple of rising ones or None")
    'a positive number, or rising ones, such as 30,60,90, or none'
    """
    expected = expected.replace(
        " or a tuple of rising ones", ", or rising ones, such as 30,60,90"
    )
    return expected.replace("30,60,90 or", "30,60,90, or").replace(
        "None", "none"
    )


def format_default(name, recipes):
    """Returns the default of a field, and where it is another one.

    Args:
        name: String, name of the field.
        recipes: Dictionary from what is trained, such as `"of scenes"`, to
            recipes. The first has the default, whatever it is called.

    Example:

    >>> from keras_epsanet.training import ClassifierRecipe
    >>> recipes = {"": ClassifierRecipe(), "of mine": ClassifierRecipe(l2=1e-4)}
    >>> format_default("epochs", recipes), format_default("l2", recipes)
    ('default: 2', 'default: 0.0, of mine 0.0001')
    """
    first, *others = recipes
    default = format_value(getattr(recipes[first], name))
    text = f"default: {default}"
    for label in others:
        other = format_value(getattr(recipes[label], name))
        if other != default:
            text += f", {label} {other}"
    return text
