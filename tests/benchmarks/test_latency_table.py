import argparse
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import latency_table

    return latency_table


def args(**changes):
    options = {
        "repeats": 20,
        "dtype": "float32",
        "batch_size": 16,
        "image_size": 224,
        "reference": None,
    }
    return argparse.Namespace(**{**options, **changes})


def ran(monkeypatch, table, returncode=0, stdout="", stderr=""):
    calls = []

    def run(command, env, **_):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, returncode, stdout, stderr)

    monkeypatch.setattr(table.subprocess, "run", run)
    return calls


OUTPUT = """epsanet50_small / ResNet50, tensorflow, float32, batch 16, 224×224
inference  median 1.10  quartiles 1.04–1.19  of 20 ratios
training   median 0.92  quartiles 0.90–0.95  of 20 ratios
"""


def test_each_row_is_a_process_with_its_options(monkeypatch, table, capsys):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    calls = ran(monkeypatch, table, stdout=OUTPUT)
    table.print_table(args(reference="/a/clone", batch_size=8))
    lines = capsys.readouterr().out.splitlines()
    assert "lanes" in lines[0] and "keras 3" in lines[0]
    assert "batch 8 and 224×224" in lines[1]
    rows = lines[4:]
    assert len(rows) == len(table.ROWS) + 1 == len(calls)
    assert rows[2] == (
        "| the same, single images | 1.10 (1.04–1.19) | 0.92 (0.90–0.95) | "
        "`--batch-size 1` |"
    )
    # The folder of the clone is nobody's business.
    assert rows[-1].endswith("| `--against reference --reference` |")
    for (command, environment), (_, options, mode) in zip(calls, table.ROWS):
        assert command[:2] == [sys.executable, str(BENCHMARKS / "latency.py")]
        assert command[2:4] == ["--mode", mode]
        assert tuple(command[-len(options) :]) == options or not options
        own = "--no-settings" in options
        assert environment.get("TF_ENABLE_ONEDNN_OPTS") == (
            None if own else "1"
        )
    assert calls[-1][0][-1] == "/a/clone"


def test_a_row_that_fails_says_so_and_the_others_go_on(
    monkeypatch, table, capsys
):
    calls = ran(monkeypatch, table, 1, stderr="Traceback\nMemoryError: full")
    table.print_table(args())
    rows = capsys.readouterr().out.splitlines()[4:]
    assert len(rows) == len(table.ROWS) == len(calls)
    assert "failed: ['MemoryError: full']" in rows[0]
