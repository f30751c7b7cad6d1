import csv
import os
import subprocess
import sys

import keras
import pytest

from keras_epsanet.classification.comparison import costs, runs
from keras_epsanet.classification.imagenet.smoke import write_images
from keras_epsanet.commands import compare

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)
pytest.importorskip("matplotlib")

TINY = "--blocks 1 1 --filters 16 16 --image-size 32 --batch-size 4"


@pytest.fixture
def trained(monkeypatch):
    """Names and seeds of the runs, none of which is really trained."""
    trained = []

    def train(started, *_):
        recipe = started[2].recipe
        trained.append((recipe.model.partition("_")[2], recipe.seed))
        return {"top1": 0.5 + 0.01 * recipe.seed}

    def measure(*_):
        return {"step": 1.5, "memory": 1, "batch": 4, "device": "x"} | {
            "backend": "tensorflow"
        }

    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(costs, "measure_apart", measure)
    return trained


def run(folder, options):
    compare.main([*TINY.split(), *options.split(), "--output", str(folder)])


def test_every_seed_is_trained_with_every_attention_once(
    trained, tmp_path, capsys
):
    run(tmp_path / "out", "--attentions eca --seeds 1")
    assert trained == [("none", 0), ("eca", 0)]
    run(tmp_path / "out", "--attentions eca simam --seeds 2 --paper")
    assert sorted(trained[2:]) == [
        *(("eca", 1), ("none", 1), ("simam", 0), ("simam", 1))
    ]
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
    options, message, trained, tmp_path
):
    with pytest.raises(SystemExit, match=f"^compare: .*{message}"):
        run(tmp_path / "out", options)
    assert trained == []


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
