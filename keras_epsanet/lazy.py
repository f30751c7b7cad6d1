"""Public names of a package that are imported when they are first used."""

import importlib
import sys


def attach(package, modules):
    """Makes a package import its public names on first use.

    Submodules are attributes too, whether or not they were imported, under
    their former names as well (`moved.py`).

    Args:
        package: Name of the package, its `__name__`.
        modules: Dictionary from names of submodules to lists of the names
            that each of them gives to the package.

    Returns:
        `__getattr__`, `__dir__` and `__all__` of the package.

    Example:

    >>> get, _, names = attach("keras_epsanet.graph", {"fuse": ["fuse"]})
    >>> names, get("fuse").__module__
    (['fuse'], 'keras_epsanet.graph.fuse')
    """
    places = {name: place for place in modules for name in modules[place]}

    def __getattr__(name):
        if name in places:
            module = importlib.import_module(f"{package}.{places[name]}")
            value = getattr(module, name)
            setattr(sys.modules[package], name, value)
            return value
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*vars(sys.modules[package]), *places})

    return __getattr__, __dir__, sorted(places)
