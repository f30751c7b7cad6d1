import dataclasses
import os

import pytest

from keras_epsanet.training import ClassifierRecipe, CocoRecipe, teacher


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two teachers in the current folder, a run folder that learns from one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.keras").write_text("one")
    (tmp_path / "b.keras").write_text("another")
    (tmp_path / "run").mkdir()
    return tmp_path


def recipe(source):
    return ClassifierRecipe(teacher=source, temperature=2.0)


def spellings(folder):
    """The same file by other paths."""
    os.symlink("a.keras", "link.keras")
    (folder / "copy.keras").write_text("one")
    return ["./a.keras", str(folder / "a.keras"), "link.keras", "copy.keras"]


@pytest.mark.parametrize("is_noted", [True, False])
def test_a_teacher_is_known_by_its_contents(files, is_noted):
    if is_noted:
        teacher.note("run", recipe("a.keras"))
    for name in spellings(files):
        ours = recipe(name)
        assert teacher.respelled("run", recipe("a.keras"), ours) == ours
        teacher.check_same("run", name)
    other = recipe("b.keras")
    assert teacher.respelled("run", recipe("a.keras"), other) != other


def test_a_teacher_that_has_moved_is_known(files):
    teacher.note("run", recipe("a.keras"))
    os.rename("a.keras", "moved.keras")
    ours = recipe("moved.keras")
    assert teacher.respelled("run", recipe("a.keras"), ours) == ours
    teacher.check_same("run", "moved.keras")


def test_a_teacher_that_was_replaced_is_refused(files):
    teacher.note("run", recipe("a.keras"))
    teacher.check_same("run", "a.keras")
    (files / "a.keras").write_text("another")
    with pytest.raises(ValueError, match="another --teacher, a.keras. Give"):
        teacher.check_same("run", "a.keras")
    # The first one stays noted.
    teacher.note("run", recipe("a.keras"))
    with pytest.raises(ValueError, match="Received: --teacher a.keras, whose"):
        teacher.check_same("run", "a.keras")


def test_a_teacher_that_is_missing_is_named(files):
    with pytest.raises(ValueError, match="Received: --teacher gone.keras"):
        teacher.check_same("run", "gone.keras")
    for first, second in (("a", "gone"), ("gone", "a")):
        theirs, ours = recipe(f"{first}.keras"), recipe(f"{second}.keras")
        assert teacher.respelled("run", theirs, ours) is theirs


def test_public_names_are_compared_as_such(files):
    teacher.note("run", recipe("resnext50_32x4d"))
    teacher.check_same("run", "resnext50_32x4d.tv2")
    with pytest.raises(ValueError, match="another --teacher"):
        teacher.check_same("run", "resnext50_32x4d.tv")


def test_with_and_without_a_teacher_is_not_the_same(files):
    with_one, without = recipe("a.keras"), recipe(None)
    assert teacher.respelled("run", with_one, without) is with_one
    assert teacher.respelled("run", without, with_one) is without
    teacher.note("run", without)
    teacher.note("run", CocoRecipe())  # Which has none at all.
    assert not os.listdir("run")


def test_only_the_path_is_taken_over(files):
    theirs = dataclasses.replace(recipe("a.keras"), seed=3)
    ours = recipe("./a.keras")
    found = teacher.respelled("run", theirs, ours)
    assert found == dataclasses.replace(ours, seed=3)
