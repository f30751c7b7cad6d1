import argparse

import pytest

from keras_epsanet import EPSANet
from keras_epsanet.commands import options, reporting
from keras_epsanet.training import ClassifierRecipe, CocoRecipe, teacher


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


def start(tmp_path, recipe=None, make_network=None, **given):
    """Checks options of a training in a new folder."""
    args = argparse.Namespace(
        **{"output": str(tmp_path / "run"), "inherit": None, **given}
    )
    recipe = (recipe or ClassifierRecipe()).with_options(args)
    options.check_trained_start(args, recipe, make_network)


@pytest.mark.parametrize(
    "given", [{"teacher_share": 0.5}, {"temperature": 3.0}]
)
def test_what_only_a_teacher_gives_a_meaning_to_needs_one(tmp_path, given):
    ((name, value),) = given.items()
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(ValueError, match=f"Received: {option} {value}$"):
        start(tmp_path, **given)
    (tmp_path / "a.keras").touch()
    start(tmp_path, teacher=str(tmp_path / "a.keras"), **given)
    start(tmp_path, CocoRecipe())


def test_a_teacher_that_was_replaced_is_refused(tmp_path):
    file, run = tmp_path / "a.keras", tmp_path / "run"
    file.write_text("one")
    run.mkdir()
    teacher.note(run, ClassifierRecipe(teacher=str(file)))
    start(tmp_path, teacher=str(file))
    file.write_text("another")
    with pytest.raises(ValueError, match="another --teacher"):
        start(tmp_path, teacher=str(file))


def test_a_start_is_named_by_the_options_that_there_are(tmp_path):
    with pytest.raises(ValueError, match="needs --inherit. Received"):
        start(tmp_path, freeze=True)
    with pytest.raises(ValueError, match="needs --weights or --inherit. R"):
        start(tmp_path, freeze=True, weights=None)


def test_an_empty_name_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="Received: --inherit $"):
        start(tmp_path, inherit="")


def test_a_resnet_that_does_not_fit_is_refused_early(tmp_path):
    sizes = {"reduction": 4, "input_shape": (32, 32, 3), "classes": 3}
    file = str(tmp_path / "resnet.keras")
    EPSANet((1,), (16,), (3,), (1,), **sizes).save(file)

    def make(depth=1):
        return lambda: EPSANet((depth,), (16,), (3, 5), (1, 4), **sizes)

    start(tmp_path, make_network=make(), inherit=file, teacher=file)
    for option in ("inherit", "teacher"):
        with pytest.raises(ValueError, match=f"^--{option} .*does not fit"):
            start(tmp_path, make_network=make(2), **{option: file})
    # Of a training that goes on none is read.
    (tmp_path / "run/checkpoints/step-00000003").mkdir(parents=True)
    start(tmp_path, make_network=pytest.fail, inherit="gone.pth")


def test_a_detector_is_that_of_a_run_or_another(monkeypatch, tmp_path):
    parser = argparse.ArgumentParser(prog="mine")
    options.add_detector_options(parser)
    monkeypatch.chdir(tmp_path)
    for run, recipe in (
        ("runs/detector", True),
        ("mine", True),
        ("copy", False),
    ):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "model.keras").touch()
        if recipe:
            text = CocoRecipe().to_json()
            (tmp_path / run / "recipe.json").write_text(text)
    for name in ("load_trained", "load_detector"):
        monkeypatch.setattr(options, name, lambda x, name=name: (name, x))
    name = "mask_rcnn_resnet50_fpn_1x_coco"
    for source, expected in (
        ("mine", ("load_detector", "mine")),
        ("copy", ("load_trained", "copy/model.keras")),
        ("copy/model.keras", ("load_trained", "copy/model.keras")),
        (name, ("load_trained", name)),
    ):
        for option in ("--run", "--weights"):
            args = parser.parse_args([option, source])
            assert options.open_detector(args) == expected
    args = parser.parse_args([])
    assert options.open_detector(args) == ("load_detector", "runs/detector")
    with pytest.raises(SystemExit):
        parser.parse_args(["--run", "mine", "--weights", "a.keras"])


@pytest.mark.parametrize("option", ["--run", "--weights"])
def test_what_is_no_detector_is_said_in_words(option, tmp_path):
    parser = argparse.ArgumentParser(prog="mine")
    options.add_detector_options(parser)
    for name, recipe in (
        ("classifier", ClassifierRecipe()),
        ("unfinished", CocoRecipe()),
        ("empty", None),
    ):
        (tmp_path / name).mkdir()
        if recipe is not None:
            (tmp_path / name / "recipe.json").write_text(recipe.to_json())
    for name, message in (
        ("none", "^there is no such file or folder, .*none$"),
        ("none.keras", "^there is no such file or folder, .*none.keras$"),
        ("classifier", "must be the run of a detector. Received: that of a c"),
        ("unfinished", "a training that has ended.*model.keras"),
        ("empty", "a training that has ended.*model.keras"),
    ):
        args = parser.parse_args([option, str(tmp_path / name)])
        with pytest.raises(ValueError, match=message):
            options.open_detector(args)


@pytest.mark.parametrize(
    "path, training, option",
    [
        (options.MODEL, "`keras-epsanet train` ", "--model takes"),
        (options.DETECTOR_RUN, "`keras-epsanet train-coco` ", "--run or --w"),
    ],
)
def test_a_default_that_is_missing_is_made_by_a_training(
    path, training, option, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        with reporting.usable("mine", path):
            raise OSError("File not found")
    text = caught.value.code
    assert text.startswith(f"mine: {path} cannot be used: it is the default")
    assert training in text and option in text
    assert not options.advise("other.keras")
    (tmp_path / path).mkdir(parents=True)
    assert not options.advise(path)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"weights": "a.keras", "inherit": None}, "--weights a.keras"),
        ({"weights": None, "inherit": "resnext"}, "--inherit resnext"),
        ({"inherit": None}, None),
        ({}, None),
    ],
)
def test_a_start_is_named_as_it_was_given(given, expected):
    assert options.trained_start(argparse.Namespace(**given)) == expected


def test_a_start_that_is_not_read_is_named(tmp_path, capsys):
    (tmp_path / "run/checkpoints/step-00000003").mkdir(parents=True)
    start(tmp_path)
    assert not capsys.readouterr().out
    start(tmp_path, inherit="gone.pth")
    line = "--inherit gone.pth is not read: the training goes on\n"
    assert capsys.readouterr().out == line


def test_one_start_is_given_at_a_time(capsys):
    parser = argparse.ArgumentParser(prog="mine")
    options.add_start_options(parser, "trained weights")
    assert vars(parser.parse_args([])) == {"weights": None, "inherit": None}
    with pytest.raises(SystemExit):
        parser.parse_args(["--weights", "a", "--inherit", "b"])
    only = argparse.ArgumentParser(prog="mine")
    options.add_start_options(only)
    assert vars(only.parse_args([])) == {"inherit": None}
    assert str(options.MOST_IMAGES) in only.format_help()


@pytest.mark.parametrize("asked", [True, False])
def test_determinism_is_tensorflow_s(asked, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    calls = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append(1)
    )
    options.make_deterministic(argparse.Namespace(deterministic=asked))
    assert len(calls) == asked
