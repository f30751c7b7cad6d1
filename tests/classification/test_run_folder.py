import argparse
import dataclasses
import json

import pytest

from keras_epsanet.classification import run_folder
from keras_epsanet.classification.sources import Images
from keras_epsanet.training import ClassifierRecipe, State


def options(**fields):
    return argparse.Namespace(**fields)


def test_a_new_training_warms_up_for_a_tenth_of_its_epochs(tmp_path):
    recipe = run_folder.choose_recipe(tmp_path, options(epochs=30))
    assert recipe == ClassifierRecipe(epochs=30, warm_up_epochs=3)
    # What it was before there were recipes.
    assert run_folder.choose_recipe(tmp_path, options()) == ClassifierRecipe()
    given = run_folder.choose_recipe(
        tmp_path, options(epochs=30, warm_up_epochs=1)
    )
    assert given.warm_up_epochs == 1


def test_a_trained_start_has_a_tenth_of_the_rate(tmp_path):
    recipe = run_folder.choose_recipe(
        tmp_path, options(epochs=10), fine_tuning=True
    )
    assert recipe.learning_rate == ClassifierRecipe().learning_rate / 10
    assert recipe.warm_up_epochs == 2
    given = run_folder.choose_recipe(
        tmp_path, options(learning_rate=0.3), fine_tuning=True
    )
    assert given.learning_rate == 0.3


@pytest.fixture
def images(dataset):
    return Images(dataset(10), dataset(4), "somewhere")


@pytest.fixture
def folder(tmp_path, recipe, images):
    """Folder of a training that has begun."""
    run = run_folder.open_run(tmp_path, recipe(epochs=4, flip=True))
    run_folder.note_images(run, images)
    return tmp_path


def test_what_is_not_given_is_that_of_the_training(folder, recipe):
    found = run_folder.choose_recipe(folder, options())
    assert found == recipe(epochs=4, flip=True)


def test_epochs_can_be_raised_and_patience_changed(folder, recipe):
    given = options(epochs=9, patience=2)
    found = run_folder.choose_recipe(folder, given)
    assert found == recipe(epochs=9, patience=2, flip=True)
    run = run_folder.open_run(folder, found)
    assert run.recipe == found
    # Whatever may still refuse it has not changed anything.
    assert run_folder.choose_recipe(folder, options()) != found
    run.restore(None, steps_per_epoch=3)
    assert run_folder.choose_recipe(folder, options()) == found


@pytest.mark.parametrize(
    "given, message",
    [
        ({"epochs": 3}, "of 4 epochs, which can only.*epochs=3$"),
        # Which would not fit the warm-up of the longer one either.
        ({"epochs": 1}, "of 4 epochs, which can only.*epochs=1$"),
        ({"flip": False}, "flip: False, not True$"),
        ({"epochs": 9, "seed": 1}, "seed: 1, not 0$"),
    ],
)
def test_other_options_are_refused(folder, given, message):
    with pytest.raises(ValueError, match=message):
        run_folder.choose_recipe(folder, options(**given))


def test_other_images_are_refused(folder, dataset):
    with pytest.raises(ValueError, match="train: 11, not 10"):
        run_folder.check_same_images(
            folder, Images(dataset(11), dataset(4), "elsewhere")
        )
    with pytest.raises(ValueError, match="somewhere.*class_names: "):
        run_folder.check_same_images(
            folder, Images(dataset(10, classes=2), dataset(4), "elsewhere")
        )
    with pytest.raises(ValueError, match="elsewhere with held_out: 5, not 4$"):
        run_folder.check_same_images(
            folder, Images(dataset(10), dataset(5), "elsewhere")
        )
    run_folder.check_same_images(
        folder, Images(dataset(10), dataset(4), "moved")
    )
    run_folder.check_same_images(
        folder / "none", Images(dataset(11), dataset(4), "new")
    )


def test_one_checkpoint_is_kept_beside_the_best(folder, recipe, images):
    run = run_folder.open_run(folder, recipe(epochs=4, flip=True))
    assert run.keep == 1
    found = json.loads((folder / "images.json").read_text())
    assert found == images.describe()


def test_a_finished_training_is_known_by_any_path_of_its_teacher(
    folder, recipe
):
    run = run_folder.open_run(folder, recipe(epochs=4, flip=True))
    run.recipe = dataclasses.replace(run.recipe, teacher="a.keras")
    state = State(step=12, steps_per_epoch=3, best_step=6, best_value=0.5)
    run_folder.write_results(run, state, NoResults(), ["SavedModel"])
    for name in run_folder.RESULTS:
        (folder / name).touch()
    again = dataclasses.replace(run.recipe, teacher="./a.keras")
    assert run_folder.finished_results(folder, again) is not None
    longer = dataclasses.replace(again, epochs=5)
    assert run_folder.finished_results(folder, longer) is None


def test_every_file_of_the_results_is_needed(folder, recipe, images):
    run = run_folder.open_run(folder, recipe(epochs=4, flip=True))
    state = State(step=12, steps_per_epoch=3, best_step=6, best_value=0.5)
    run_folder.write_results(run, state, NoResults(), ["SavedModel"])
    for missing in run_folder.RESULTS:
        for name in run_folder.RESULTS:
            (folder / name).touch()
        found = run_folder.finished_results(folder, run.recipe)
        assert found["compared"] == ["SavedModel"]
        assert found["recipe"]["epochs"] == 4
        (folder / missing).unlink()
        assert run_folder.finished_results(folder, run.recipe) is None


class NoResults:
    def summary(self):
        return {"top1": 0.5}


def test_a_finished_training_has_its_recipe_and_all_of_its_files(
    folder, recipe, images
):
    run = run_folder.open_run(folder, recipe(epochs=4, flip=True))
    assert run_folder.finished_results(folder, run.recipe) is None
    state = State(step=12, steps_per_epoch=3, best_step=6, best_value=0.5)
    run_folder.write_results(run, state, NoResults(), ["SavedModel"])
    assert run_folder.finished_results(folder, run.recipe) is None
    for name in run_folder.RESULTS:
        (folder / name).touch()
    found = run_folder.finished_results(folder, run.recipe)
    assert (found["epochs"], found["best_epoch"], found["top1"]) == (4, 2, 0.5)
    assert json.loads((folder / "results.json").read_text()) == found
    longer = dataclasses.replace(run.recipe, epochs=5)
    assert run_folder.finished_results(folder, longer) is None
