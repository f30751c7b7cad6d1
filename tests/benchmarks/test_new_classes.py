"""The folder, the options and the printed steps of `new_classes.py`."""

import json
import pathlib
import sys

import keras
import pytest

from keras_epsanet.commands import train_coco
from keras_epsanet.detection import demo

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


@pytest.fixture
def new_classes(script, monkeypatch, tmp_path):
    """Function that runs the script; its trainings leave a log alone.

    It returns the command lines of the trainings.
    """
    module = script("new_classes")
    monkeypatch.setattr(
        module.scenes,
        "write",
        lambda folder, *x, **y: pathlib.Path(folder).mkdir(),
    )

    def run(*options):
        commands = []

        def train(command, check):
            assert check and command[:3] == [
                sys.executable,
                "-c",
                module.COMMAND,
            ]
            commands.append(command[4:])
            run = pathlib.Path(command[command.index("--output") + 1])
            steps = len(commands) * 1111
            for step in (steps - 1, steps):
                folder = run / f"checkpoints/step-{step:08}"
                folder.mkdir(parents=True, exist_ok=True)
            rows = [
                "epoch,val_AP,val_AP50",
                "0,0,0",
                f"1,0.{len(commands)},0.5",
            ]
            (run / "log.csv").write_text("\n".join(rows))

        monkeypatch.setattr(module.subprocess, "run", train)
        arguments = ["x", "--output", str(tmp_path / "runs"), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        module.main()
        return commands

    return run


def test_trainings_have_the_recipe_of_the_demonstration(new_classes, tmp_path):
    commands = new_classes(
        *("--old-epochs", "5", "--epochs", "4", "--image-size", "96")
    )
    runs = tmp_path / "runs"
    start = f"{runs}/old/model.keras"
    for command, name, data, epochs, weights in zip(
        commands,
        ("old", "scratch", "further"),
        ("old", "new", "new"),
        (5, 12, 4),
        (None, None, start),
        strict=True,
    ):
        args = train_coco.parse(command)
        assert args.output == f"{runs}/{name}"
        assert args.data == f"{runs}/{data}_scenes"
        assert args.weights == weights
        # Nothing is left to what a training on few images chooses by itself.
        args.weights = None
        args.output = str(tmp_path / "other")
        recipe = train_coco.choose_recipe(args)
        assert vars(args).keys() >= vars(recipe).keys()
        assert (recipe.epochs, recipe.evaluate_every) == (epochs, epochs)
        differences = recipe.differences(demo.scenes_recipe("faster_rcnn"))
        fields = {x.partition(":")[0] for x in differences}
        others = {"epochs", "evaluate_every", "image_size", "longer_side"}
        assert fields == others and recipe.longer_side == 96


def test_steps_are_those_that_were_made(new_classes, capsys):
    new_classes()
    assert capsys.readouterr().out.splitlines() == [
        "from scratch  2,222 steps  AP 20.0%  AP50 50.0%",
        "further       3,333 steps  AP 30.0%  AP50 50.0%",
    ]


def test_the_same_command_goes_on(new_classes):
    assert new_classes("--scenes", "7") == new_classes("--scenes", "7")


@pytest.mark.parametrize(
    "option",
    [
        "--old-scenes",
        "--old-epochs",
        "--scenes",
        "--held-out",
        "--image-size",
        "--epochs",
    ],
)
def test_a_folder_of_other_options_is_refused(option, new_classes, tmp_path):
    new_classes()
    before = (tmp_path / "runs/options.json").read_text()
    with pytest.raises(SystemExit, match="was made with other options.*: 77"):
        new_classes(option, "77")
    assert (tmp_path / "runs/options.json").read_text() == before
    assert "77" not in json.loads(before).values()


def test_a_folder_of_something_else_is_refused(new_classes, tmp_path):
    scenes = tmp_path / "runs/old_scenes"
    scenes.mkdir(parents=True)
    with pytest.raises(SystemExit, match="must be a new folder.*: .*runs$"):
        new_classes()
    assert list((tmp_path / "runs").iterdir()) == [scenes]
