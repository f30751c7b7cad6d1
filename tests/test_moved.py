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


# Something that is in the module of each former name alone.
CONTENTS = {
    "data.augmentation": "Augmentations",
    "data.coco_annotations": "name_some",
    "data.coco_contents": "read_contents",
    "data.coco_masks": "draw_planes",
    "data.coco_table": "Table",
    "data.coco_tfds": "write_from_tfds",
    "data.coco_transforms": "padded_size",
    "data.crops": "random_crop",
    "data.decoding": "decoded_batches",
    "data.image_sources": "Slots",
    "data.imagenet_source": "open_source",
    "data.record_blocks": "to_blocks",
    "data.record_split": "RecordSplit",
    "data.shape_groups": "grouped_order",
    "data.shard_writer": "write_shards",
    "data.splits": "list_tree",
    "data.tfrecords": "convert",
    "detection.coco_evaluator": "CocoEvaluator",
    "detection.sampler": "random_keys",
    "models.imagenet": "decode_predictions",
    "models.layer_names": "network_layers",
    "models.weights": "check_weights",
    "torch_checkpoint": "read_content",
    "torch_weights": "write_entries",
    "training.durable": "is_whole",
    "training.replicas": "num_replicas",
    "training.strategy": "make_strategy",
}


def test_a_new_name_is_that_of_the_same_module():
    former = {x.removeprefix("keras_epsanet."): x for x in MOVED}
    assert former.keys() == CONTENTS.keys()
    for name, content in CONTENTS.items():
        module = importlib.import_module(MOVED[former[name]])
        assert vars(module)[content].__module__ == module.__name__


def test_what_runs_by_a_former_name_has_the_file_of_the_new_one(monkeypatch):
    former = "keras_epsanet.data.tfrecords"
    new = MOVED[former]
    monkeypatch.delitem(sys.modules, former, raising=False)
    origins = [importlib.util.find_spec(x).origin for x in (former, new)]
    assert origins[0] == origins[1]
    assert origins[0].endswith("tfrecords.py")


def test_one_finder_is_enough():
    number = len(sys.meta_path)
    keep_former_names()
    assert len(sys.meta_path) == number


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras_epsanet.training.nothing")
