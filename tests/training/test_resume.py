import argparse
import types

import pytest
from small_runs import make_model, save, train

from keras_epsanet.training import (
    COCO,
    ClassifierRecipe,
    CocoRecipe,
    check_same_step,
    has_checkpoints,
    open_run,
    read_recipe,
    resume_recipe,
)
from keras_epsanet.training import resume as resume_module


def resume(**options):
    return resume_recipe("RUN", COCO, argparse.Namespace(**options))


def test_a_training_goes_on_with_its_own_options():
    assert resume() == COCO
    assert resume(epochs=12, seed=0, other=3) == COCO


def test_epochs_can_be_raised():
    assert resume(epochs=24) == CocoRecipe(epochs=24)


def test_epochs_cannot_be_lowered():
    with pytest.raises(ValueError, match="of 12 epochs.*Received: epochs=11"):
        resume(epochs=11)


def test_another_option_is_named():
    with pytest.raises(ValueError, match="raised. Take.*: seed: 3, not 0$"):
        resume(epochs=24, seed=3)


def test_a_folder_without_a_training_has_no_recipe(tmp_path):
    assert read_recipe(tmp_path / "none", CocoRecipe) is None
    (tmp_path / "file").touch()
    assert read_recipe(tmp_path / "file", CocoRecipe) is None


def test_the_folder_of_a_shorter_training_becomes_that_of_a_longer(tmp_path):
    open_run(tmp_path, COCO)
    longer = CocoRecipe(epochs=24)
    run = open_run(tmp_path, longer, keep=1)
    assert (run.recipe, run.keep) == (longer, 1)
    run.restore(None, steps_per_epoch=10)
    assert read_recipe(tmp_path, CocoRecipe) == longer


def test_a_training_that_cannot_go_on_keeps_its_recipe(tmp_path):
    run, model = open_run(tmp_path, COCO), train(make_model())
    save(run, model, 4)
    before = (tmp_path / "recipe.json").read_text()
    longer = open_run(tmp_path, CocoRecipe(epochs=24))
    with pytest.raises(ValueError, match="on other data"):
        longer.restore(model, steps_per_epoch=11)
    assert (tmp_path / "recipe.json").read_text() == before
    assert longer.restore(model, steps_per_epoch=10).step == 4
    assert read_recipe(tmp_path, CocoRecipe) == CocoRecipe(epochs=24)


def test_a_training_goes_on_with_its_teacher_by_any_path(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "other")):
        (tmp_path / name).write_text(text)
    theirs = ClassifierRecipe(teacher=str(tmp_path / "a"))

    def resume(name, **options):
        given = argparse.Namespace(teacher=str(tmp_path / name), **options)
        return resume_recipe(tmp_path / "run", theirs, given)

    assert resume("b", epochs=9).teacher == str(tmp_path / "b")
    with pytest.raises(ValueError, match="Received: teacher: .*c, not .*a$"):
        resume("c")
    with pytest.raises(ValueError, match="Received: seed: 3, not 0$"):
        resume("b", seed=3)


def test_checkpoints_are_what_a_training_goes_on_from(tmp_path):
    assert not has_checkpoints(tmp_path / "none")
    (tmp_path / "checkpoints" / ".unfinished").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-old").mkdir()
    assert not has_checkpoints(tmp_path)
    (tmp_path / "checkpoints" / "step-00000003").mkdir()
    assert has_checkpoints(tmp_path)


def test_further_fields_may_change_and_are_named():
    theirs = ClassifierRecipe(patience=2)

    def resume(may_change=("patience",), **options):
        given = argparse.Namespace(**options)
        return resume_recipe("RUN", theirs, given, may_change)

    assert resume(patience=3).patience == 3 and resume().patience == 2
    with pytest.raises(ValueError, match="raised. Take.*: patience: 3, not 2$"):
        resume((), patience=3)
    with pytest.raises(ValueError, match="raised and `patience` changed. Take"):
        resume(seed=1)


def test_workers_that_see_other_checkpoints_are_refused(monkeypatch):
    state = types.SimpleNamespace(step=7)
    check_same_step("RUN", state, None)
    monkeypatch.setattr(
        resume_module, "gather_objects", lambda step, strategy: [step, 0]
    )
    with pytest.raises(ValueError, match="RUN, with .* the steps 7, 0$"):
        check_same_step("RUN", state, None)
