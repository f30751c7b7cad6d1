"""Former names of modules, which are to go after the next version."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings

MOVED = {
    "keras_epsanet.training.durable": "keras_epsanet.atomic",
    "keras_epsanet.training.replicas": "keras_epsanet.distribution.replicas",
    "keras_epsanet.training.strategy": "keras_epsanet.distribution.strategy",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module of the new name to who imports the former one."""

    def find_spec(self, name, path=None, target=None):
        if name in MOVED:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        warnings.warn(
            f"{spec.name} is {MOVED[spec.name]} now, and its former name "
            "will go after the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        module = importlib.import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # Importing has given it the spec of the former name.
        module.__spec__ = module.__spec__.loader_state


def keep_former_names():
    """Lets the modules be imported by their former names too."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
