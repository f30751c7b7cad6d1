import pathlib
import re
import runpy
import subprocess
import sys

import keras
import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks/scaling.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(SCRIPT)


def cluster(script, **changes):
    """1,000 images of 10 ms a step, 40 MB of gradients, nothing else."""
    values = {
        "images_per_second": 1000.0,
        "batch_size": 10,
        "parameters": 10_000_000,
        "gpus_per_node": 4,
        "link": float("inf"),
        "network": float("inf"),
        "latency": 0.0,
        "input_per_node": float("inf"),
        "watts": 500.0,
        "price": 2.0,
    }
    return script["Cluster"](**{**values, **changes})


def test_without_any_limit_gpus_add_up(script):
    found = script["predict"](cluster(script), 64)
    assert found.images_per_second == pytest.approx(64_000)
    assert (found.efficiency, found.limit) == (pytest.approx(1), "GPUs")
    hours = 1_281_167 * 120 / 64_000 / 3600
    assert found.hours == pytest.approx(hours)
    assert found.kwh == pytest.approx(hours * 64 * 0.5)
    assert found.price == pytest.approx(hours * 64 * 2)


@pytest.mark.parametrize(
    "changes, gpus, seconds",
    [
        ({"link": 4.0}, 1, 0.0),
        ({"link": 4.0}, 2, 0.010),  # Half of the 40 MB, twice.
        ({"link": 4.0}, 4, 0.015),
        ({"network": 4.0}, 4, 0.0),
        ({"network": 4.0}, 8, 0.010),
        ({"network": 4.0, "link": 4.0}, 8, 0.025),
        ({"latency": 1e-3}, 8, 0.006 + 0.002),
    ],
)
def test_rings_within_machines_and_between(script, changes, gpus, seconds):
    found = script["all_reduce"](cluster(script, **changes), gpus)
    assert found == pytest.approx(seconds)


def test_what_hides_behind_a_step_costs_nothing(script):
    slow = cluster(script, network=4.0)
    assert script["predict"](slow, 8).efficiency == pytest.approx(0.5)
    half = script["predict"](slow._replace(overlap=0.5), 8)
    assert half.efficiency == pytest.approx(10 / 15)


def test_what_takes_longest_is_named(script):
    def limit(gpus, **changes):
        return script["predict"](cluster(script, **changes), gpus).limit

    assert limit(8, network=4.1) == "GPUs"
    assert limit(8, network=3.9) == "network"
    assert limit(4, input_per_node=3999.0) == "input"
    assert limit(4, input_per_node=4001.0) == "GPUs"
    # Two machines read twice as much.
    assert limit(5, input_per_node=3999.0) == "GPUs"


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="workers of TensorFlow"
)
def test_processes_are_measured():
    options = "--measure 1 2 --images 1 --image-size 32 --repeats 3"
    result = subprocess.run(
        [sys.executable, SCRIPT, *options.split()],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = result.stdout.splitlines()[1:]
    found = [re.fullmatch(r" *(\d+) +(\d+) +90.2 MB .*%", x) for x in rows]
    assert [x.groups() for x in found] == [("1", "1"), ("2", "2")]
