import argparse

import pytest

from keras_epsanet.commands import options
from keras_epsanet.training import ClassifierRecipe


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="mine")
    options.add_training_options(
        parser, ClassifierRecipe, ["a", "b"], 7, default="those of the paper"
    )
    return parser


def test_fields_of_the_recipe_are_options(parser):
    given = "--model b --epochs 3 --no-flip --checkpoint-steps 5"
    assert vars(parser.parse_args(given.split())) == {
        "model": "b",
        "epochs": 3,
        "flip": False,
        "checkpoint_steps": 5,
        "deterministic": False,
    }
    assert parser.parse_args([]).checkpoint_steps == 7
    text = parser.format_help()
    assert "those of the paper" in text and "(default: 7)" in text


def test_a_default_of_smoke_runs_is_named_too():
    parser = argparse.ArgumentParser()
    options.add_training_options(
        parser, ClassifierRecipe, ["a"], 7, default="D", of_smoke=3
    )
    text = " ".join(parser.format_help().split())
    assert "(default: 7, with --smoke 3)" in text
    assert parser.parse_args([]).checkpoint_steps is None


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x"])
def test_a_positive_option_takes_nothing_else(text, parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--checkpoint-steps", text])
    message = "`checkpoint_steps` must be a positive integer. Received: "
    assert f"{message}checkpoint_steps={text}" in capsys.readouterr().err
