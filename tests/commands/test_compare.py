import csv
import dataclasses
import os
import re
import subprocess
import sys
import types

import keras
import pytest

from keras_epsanet.classification.comparison import costs, runs
from keras_epsanet.classification.imagenet.smoke import write_images
from keras_epsanet.commands import compare
from keras_epsanet.training.classification_recipe import ClassificationRecipe

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)
pytest.importorskip("matplotlib")

TINY = "--blocks 1 1 --filters 16 16 --image-size 32 --batch-size 4"


@pytest.fixture
def measured(monkeypatch):
    """Names of the networks that are measured, none of them really."""
    measured = []

    def measure(name, *_):
        measured.append(name)
        return {"step": 1.5, "memory": 1, "batch": 4, "device": "x"} | {
            "backend": "tensorflow"
        }

    monkeypatch.setattr(costs, "measure_apart", measure)
    return measured


@pytest.fixture
def trained(monkeypatch, measured):
    """Names and seeds of the runs, none of which is really trained."""
    trained = []

    def train(started, *_):
        recipe = started[2].recipe
        trained.append((recipe.model.partition("_")[2], recipe.seed))
        return {"top1": 0.5 + 0.01 * recipe.seed}

    monkeypatch.setattr(runs, "train", train)
    return trained


def run(folder, options):
    compare.main([*TINY.split(), *options.split(), "--output", str(folder)])


def test_every_seed_is_trained_with_every_attention_once(
    trained, measured, tmp_path, capsys
):
    run(tmp_path / "out", "--attentions eca --seeds 1")
    assert trained == [("none", 0), ("eca", 0)]
    run(tmp_path / "out", "--attentions eca simam --seeds 2 --paper")
    assert sorted(trained[2:]) == [
        *(("eca", 1), ("none", 1), ("simam", 0), ("simam", 1))
    ]
    assert measured == ["none", "eca", "simam"]
    with open(tmp_path / "out/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["attention"] for row in rows] == ["none", "eca", "simam"]
    assert {float(row["top1_mean"]) for row in rows} == {0.505}
    text = (tmp_path / "out/table.md").read_text()
    assert text in capsys.readouterr().out
    assert (tmp_path / "out/figure_1.png").is_file()


@pytest.mark.parametrize(
    "options, message",
    [
        ("--attentions cbma", "Is cbam meant"),
        ("--attentions se se", "se twice"),
        ("--attentions eca psa", "psa does not fit"),
        ("--attentions non_local", "non_local has no place"),
        ("--blocks 1 1 1 --attentions eca", "a number for each stage"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(
    options, message, trained, measured, tmp_path
):
    with pytest.raises(SystemExit, match=f"^compare: .*{message}"):
        run(tmp_path / "out", options)
    # Nothing is, before all of them fit.
    assert trained == measured == []


def test_a_folder_of_another_configuration_is_refused(trained, tmp_path):
    run(tmp_path / "out", "--attentions eca --seeds 1")
    with pytest.raises(SystemExit, match="out belongs.*epochs: 9, not 2"):
        run(tmp_path / "out", "--attentions eca --seeds 1 --epochs 9")


@pytest.mark.parametrize("option", ["--seeds 0", "--teacher x", "--filters a"])
def test_bad_options_are_refused_by_the_parser(option, capsys):
    with pytest.raises(SystemExit) as caught:
        compare.parse(option.split())
    assert caught.value.code == 2
    assert "compare: error: " in capsys.readouterr().err


def test_ctrl_c_ends_with_a_line(trained, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(costs, "count", interrupt)
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "out", "--attentions eca")
    assert caught.value.code == 130
    assert compare.ADVICE in capsys.readouterr().err


@pytest.mark.large
def test_a_comparison_on_imagenet_runs_end_to_end(tmp_path):
    write_images(tmp_path / "images")
    command = [sys.executable, "-m", "keras_epsanet_command", "compare"]
    command += ["--data", str(tmp_path / "images"), "--model", "narrow"]
    command += [*TINY.split(), "--attentions", "eca", "abn", "--seeds", "1"]
    command += ["--epochs", "1", "--output", str(tmp_path / "out")]
    for _ in range(2):
        result = subprocess.run(
            command, capture_output=True, text=True, env=os.environ
        )
        assert result.returncode == 0, result.stderr[-3000:]
    assert "Going on" not in result.stdout  # Nothing is left to be done.
    table = (tmp_path / "out/table.md").read_text()
    assert table.count("(1) |") == 3 and "| abn |" in table


def test_defaults_are_those_of_the_help():
    assert vars(compare.parse([])) == {
        "attentions": "psa se cbam gc triplet eca fca sa".split(),
        "seeds": 3,
        "data": None,
        "frame": None,
        "blocks": None,
        "filters": None,
        "output": "runs/compared",
        "paper": False,
        "checkpoint_steps": 1000,
        "deterministic": False,
    }


def test_what_runs_share_or_networks_without_a_start_lack_is_no_option(capsys):
    with pytest.raises(SystemExit):
        compare.parse(["--help"])
    found = set(re.findall(r"--([a-z0-9-]+)", capsys.readouterr().out))
    fields = {x.name for x in dataclasses.fields(ClassificationRecipe)}
    fields -= {"model", "seed", "freeze", "backbone_rate", "teacher"}
    fields -= {"teacher_share", "temperature", "recalibration_steps"}
    fields |= {"attentions", "seeds", "data", "model", "blocks", "filters"}
    fields |= {"output", "paper", "checkpoint_steps", "deterministic", "help"}
    assert {x for x in found if not x.startswith("no-")} == {
        name.replace("_", "-") for name in fields
    }


@pytest.mark.parametrize(
    "options, model, blocks, filters",
    [
        ("", "narrow", None, None),
        ("--data X", "resnet50", None, None),
        ("--data X --model narrow", "narrow", None, None),
        ("--blocks 1 2 --filters 16 32", "narrow", (1, 2), (16, 32)),
    ],
)
def test_the_frame_is_that_of_the_images_or_the_options(
    options, model, blocks, filters
):
    found = compare.choose_frame(compare.parse(options.split()))
    frame = compare.FRAMES[model]
    assert found == frame._replace(
        blocks=blocks or frame.blocks, filters=filters or frame.filters
    )


def test_options_reach_every_run(trained, tmp_path, monkeypatch):
    seen = []

    def train(started, source, strategy, interruption, steps):
        seen.append((interruption.requested, steps))
        return {"top1": 0.5}

    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(
        compare.options, "make_deterministic", lambda args: seen.append(args)
    )
    # `none` is always there, and once.
    run(
        tmp_path / "out",
        "--attentions none --seeds 1 --checkpoint-steps 7 --deterministic",
    )
    args, *others = seen
    assert args.deterministic and others == [(False, 7)]
    assert len((tmp_path / "out/table.csv").read_text().splitlines()) == 2


def test_a_signal_ends_a_comparison_once_the_run_is_kept(
    trained, tmp_path, monkeypatch
):
    def train(started, source, strategy, interruption, steps):
        # `Checkpointing` lets the last epoch of a run end.
        interruption._request(15, None)
        return {"top1": 0.5}

    monkeypatch.setattr(runs, "train", train)
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "out", "--attentions eca --seeds 1")
    assert caught.value.code == 75
    folders = [tmp_path / "out" / name / "seed-0" for name in ("none", "eca")]
    assert [(x / "result.json").is_file() for x in folders] == [True, False]
    # Nothing goes on from them.
    assert not (folders[0] / "checkpoints").exists()


@pytest.mark.parametrize(
    "frame, paper, beside",
    [
        ("resnet50", True, "resnet50"),
        ("resnet50", False, None),
        ("narrow", True, None),
    ],
)
def test_the_paper_is_beside_a_resnet_of_its_depth(
    frame, paper, beside, monkeypatch
):
    drawn = []
    monkeypatch.setattr(compare.table, "read_rows", lambda *rows: "rows")
    monkeypatch.setattr(compare.picture, "plot", lambda *x: drawn.append(x))
    folder = types.SimpleNamespace(path="out")
    frame = compare.FRAMES[frame]
    comparison = compare.Comparison([], 1, frame, None, None, folder)
    compare.draw(comparison, paper)
    assert drawn == [("rows", "out/figure_1.png", beside)]


def test_a_run_is_kept_before_it_cannot_go_on_any_more(
    trained, tmp_path, monkeypatch
):
    def remove(path):
        assert path == str(tmp_path / "out/none/seed-0")
        assert (tmp_path / "out/none/seed-0/result.json").is_file()
        raise OSError("killed")

    monkeypatch.setattr(runs, "remove_checkpoints", remove)
    with pytest.raises(SystemExit, match="compare: killed"):
        run(tmp_path / "out", "--attentions none --seeds 1")


def test_tables_are_there_after_every_run(trained, tmp_path, monkeypatch):
    train = runs.train

    def fail_later(started, *others):
        if len(trained) == 1:
            raise FloatingPointError("The loss is nan")
        return train(started, *others)

    monkeypatch.setattr(runs, "train", fail_later)
    with pytest.raises(SystemExit, match="compare: The loss is nan"):
        run(tmp_path / "out", "--attentions none --seeds 2 --paper")
    with open(tmp_path / "out/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["runs"] for row in rows] == ["1"]
    # The paper's figures are beside, as they were asked for.
    assert "paper, ResNet-50" in (tmp_path / "out/table.md").read_text()
