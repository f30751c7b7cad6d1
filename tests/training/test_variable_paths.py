import types

import pytest

from keras_epsanet.training.variable_paths import find_by_path, path_of


def variable(path):
    return types.SimpleNamespace(path=path, name=path.rpartition("/")[2])


def test_a_variable_without_a_path_has_its_name():
    assert path_of(types.SimpleNamespace(name="w")) == "w"
    assert path_of(variable("conv/w")) == "conv/w"


@pytest.mark.parametrize(
    "path, found",
    [
        ("conv/w", "conv/w"),
        ("model/conv/b", "conv/b"),
        ("gamma", "bn/gamma"),
        ("onv/w", None),
        ("w", None),  # There is an exact one below.
    ],
)
def test_the_name_of_a_model_may_be_missing(path, found):
    variables = list(map(variable, ["conv/w", "conv/b", "bn/gamma"]))
    if path == "w":
        variables.append(variable("w"))
        found = "w"
    assert [v.path for v in find_by_path(path, variables)] == (
        [found] if found else []
    )


def test_two_of_one_path_are_refused():
    with pytest.raises(ValueError, match="Received: 2 variables like w"):
        find_by_path("w", [variable("a/w"), variable("b/w")])
