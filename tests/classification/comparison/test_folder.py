import dataclasses
import types

import pytest

from keras_epsanet.classification.comparison.folder import Folder, describe
from keras_epsanet.classification.comparison.networks import FRAMES
from keras_epsanet.training import ClassifierRecipe

RECIPE = ClassifierRecipe()
SOURCE = types.SimpleNamespace(
    name="clothes", counts=(10, 5), class_names=["shirt", "shoe"]
)


def description(**changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    return describe(FRAMES["narrow"], recipe, SOURCE)


def test_what_was_done_is_there_when_the_folder_is_opened_again(tmp_path):
    folder = Folder(tmp_path / "out", description())
    folder.add_cost("se", {"parameters": 3})
    (tmp_path / "out/se/seed-1").mkdir(parents=True)
    folder.add_result("se", 1, {"top1": 0.5})
    again = Folder(tmp_path / "out", description())
    assert again.costs() == {"se": {"parameters": 3}}
    assert again.result("se", 1) == {"top1": 0.5}
    assert again.result("se", 0) is None


def test_another_configuration_is_refused_with_what_differs(tmp_path):
    Folder(tmp_path, description()).add_cost("se", {})
    with pytest.raises(ValueError, match="epochs: 7, not 2"):
        Folder(tmp_path, description(epochs=7))


def test_runs_differ_in_their_seed_and_network(tmp_path):
    Folder(tmp_path, description()).add_cost("se", {})
    Folder(tmp_path, description(seed=5, model="other"))


def test_a_folder_in_which_nothing_was_done_is_for_anything(tmp_path):
    Folder(tmp_path, description())
    Folder(tmp_path, description(epochs=7))


def test_all_that_runs_have_in_common_is_described():
    found = description(seed=3, epochs=7)
    assert found.pop("epochs") == 7
    frame = {"blocks": [1, 2, 2, 1], "filters": [64, 64, 128, 128]}
    assert {name: found.pop(name) for name in frame} == frame
    images = {"data": "clothes", "images": [10, 5], "classes": 2}
    assert {name: found.pop(name) for name in images} == images
    fields = {x.name for x in dataclasses.fields(RECIPE)}
    # The frame has a model too.
    assert found.pop("model") == "narrow"
    assert set(found) == fields - {"model", "seed", "epochs"}


def test_the_folder_is_one_process_s(tmp_path):
    held = Folder(tmp_path / "out", description())
    assert held and (tmp_path / "out/.lock").is_file()
