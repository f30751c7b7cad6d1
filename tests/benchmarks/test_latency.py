import pathlib
import re
import runpy
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks/latency.py"


def test_ratios_are_of_neighboring_runs_in_both_orders(monkeypatch):
    script = runpy.run_path(SCRIPT)
    now, calls = [0.0], []

    def taking(seconds):
        def run():
            now[0] += seconds
            calls.append(seconds)

        return run

    monkeypatch.setattr(script["time"], "perf_counter", lambda: now[0])
    runs = [taking(3.0), taking(2.0)]
    assert script["measure_ratios"](runs, 3) == [1.5, 1.5, 1.5]
    warm_up = [3.0, 3.0, 2.0, 2.0]
    assert calls == [*warm_up, 3.0, 2.0, 2.0, 3.0, 3.0, 2.0]


def test_ratios_are_printed_by_their_quartiles():
    format_ratios = runpy.run_path(SCRIPT)["format_ratios"]
    found = format_ratios([4.0, 1.0, 2.0, 3.0, 5.0])
    assert found == "median 3.00  quartiles 2.00–4.00  of 5 ratios"


@pytest.mark.large
def test_prints_a_ratio_for_each_mode(monkeypatch, capsys):
    arguments = "--batch-size 1 --image-size 32 --repeats 2"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments.split()])
    runpy.run_path(SCRIPT, run_name="__main__")
    ratios = re.findall(
        r"^(\w+) +median ([\d.]+)", capsys.readouterr().out, re.MULTILINE
    )
    assert [mode for mode, _ in ratios] == ["inference", "training"]
    assert all(float(ratio) > 0 for _, ratio in ratios)
