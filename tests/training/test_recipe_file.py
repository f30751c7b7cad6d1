import pathlib

import pytest

from keras_epsanet.training import (
    COCO,
    IMAGENET,
    ClassifierRecipe,
    CocoRecipe,
    ImageNetRecipe,
    Recipe,
    recipe_file,
)
from keras_epsanet.training.recipe_file import (
    CLASSIFIERS,
    Trained,
    check_trained,
    read_recipe_file,
    trained_in,
)

RECIPES = {
    "a detector": COCO,
    "a classifier": ClassifierRecipe(),
    "a classifier of ImageNet": IMAGENET,
}
FORMER = pathlib.Path(__file__).parents[1] / "golden/former/run"


@pytest.fixture
def run(tmp_path):
    """Function that writes the recipe of a run, and returns its path."""

    def write(text):
        (tmp_path / recipe_file.FILE).write_text(text)
        return f"{tmp_path}/recipe.json"

    return write


@pytest.mark.parametrize("wanted", RECIPES)
@pytest.mark.parametrize("trained", RECIPES)
def test_a_run_of_another_kind_is_called_so(run, tmp_path, trained, wanted):
    path, kind = run(RECIPES[trained].to_json()), type(RECIPES[wanted])
    if trained == wanted:
        assert read_recipe_file(path, kind) == RECIPES[trained]
        return
    message = (
        f"^{tmp_path} must be the run of {wanted}. Received: that of {trained}$"
    )
    with pytest.raises(ValueError, match=message):
        read_recipe_file(path, kind)


def test_a_recipe_of_a_former_version_is_read():
    path = f"{FORMER}/recipe.json"
    assert read_recipe_file(path, ImageNetRecipe).model == "tiny"
    with pytest.raises(
        ValueError, match="Received: that of a classifier of Im"
    ):
        read_recipe_file(path, CocoRecipe)


@pytest.mark.parametrize("text", ["[]", "{", '{"flib": true}'])
def test_what_is_no_recipe_is_none_of_any_kind(run, text):
    with pytest.raises(ValueError, match="must be the JSON of a recipe"):
        read_recipe_file(run(text), ClassifierRecipe)


def test_a_recipe_of_no_kind_is_read(run):
    assert read_recipe_file(run(Recipe().to_json()), Recipe) == Recipe()


def test_a_model_may_be_of_either_classifier(run, tmp_path):
    check_trained(tmp_path / "none", *CLASSIFIERS)
    for trained, recipe in RECIPES.items():
        run(recipe.to_json())
        if trained.startswith("a classifier"):
            check_trained(tmp_path, *CLASSIFIERS)
            with pytest.raises(
                ValueError, match=f"Received: that of {trained}"
            ):
                check_trained(tmp_path, Trained.DETECTOR)
        else:
            with pytest.raises(
                ValueError, match="the run of a classifier. Rec"
            ):
                check_trained(tmp_path, *CLASSIFIERS)


def test_kinds_are_compared_and_not_their_names(run, tmp_path):
    run(IMAGENET.to_json())
    with pytest.raises(ValueError, match="Received: that of a classifier of I"):
        check_trained(tmp_path, Trained.CLASSIFIER)
    assert trained_in(tmp_path) is Trained.IMAGENET
