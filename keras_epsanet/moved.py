"""Former names of modules, which are to go after the next version."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings

MOVED = {
    f"keras_epsanet.{former}": f"keras_epsanet.{new}"
    for former, new in {
        "data.augmentation": "data.imagenet.augmentation",
        "data.coco_annotations": "data.coco.annotations",
        "data.coco_contents": "data.coco.contents",
        "data.coco_masks": "data.coco.masks",
        "data.coco_table": "data.coco.table",
        "data.coco_tfds": "data.coco.from_tfds",
        "data.coco_transforms": "data.coco.transforms",
        "data.crops": "data.imagenet.crops",
        "data.decoding": "data.imagenet.decoding",
        "data.image_sources": "data.imagenet.file_split",
        "data.imagenet_source": "data.imagenet.source",
        "data.record_blocks": "data.imagenet.record_blocks",
        "data.record_split": "data.imagenet.record_split",
        "data.shape_groups": "data.coco.aspect_ratio_groups",
        "data.shard_writer": "data.imagenet.shard_writer",
        "data.splits": "data.imagenet.splits",
        "data.tfrecords": "data.imagenet.tfrecords",
        "detection.coco_evaluator": "detection.evaluation",
        "detection.sampler": "detection.subsampler",
        "models.imagenet": "models.preprocessing",
        "models.layer_names": "weights.layer_names",
        "models.weights": "weights.load",
        "torch_checkpoint": "weights.torch_files",
        "torch_weights": "weights.torch_names",
        "training.durable": "atomic",
        "training.replicas": "distribution.replicas",
        "training.strategy": "distribution.strategy",
    }.items()
}


# Modules whose code runs between the line that imports and the warning.
_BETWEEN = {
    __name__,
    "keras_epsanet.lazy",
    "importlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "runpy",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives the module of the new name to who imports the former one."""

    def find_spec(self, name, path=None, target=None):
        if name not in MOVED:
            return None
        # Processes that `python -m` with the former name starts want a file.
        origin = importlib.util.find_spec(MOVED[name]).origin
        return importlib.machinery.ModuleSpec(name, self, origin=origin)

    def create_module(self, spec):
        _warn(spec.name)
        module = importlib.import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # Importing has given it the spec of the former name.
        module.__spec__ = module.__spec__.loader_state

    def get_source(self, fullname):
        return importlib.util.find_spec(MOVED[fullname]).loader.get_source(
            MOVED[fullname]
        )

    def get_code(self, fullname):
        """What `python -m` runs."""
        _warn(fullname)
        return super().get_code(fullname)


def _warn(former):
    """Warns at the line of the user.

    A `stacklevel` would not do: between that line and this one stand other
    frames for `import`, `importlib.import_module` and an attribute.
    """
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    warnings.warn_explicit(
        f"{former} is {MOVED[former]} now, and its former name "
        "will go after the next version",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def keep_former_names():
    """Lets the modules be imported by their former names too."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
