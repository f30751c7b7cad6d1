import csv
import io

import pytest

from keras_epsanet.classification.comparison.table import (
    Row,
    as_csv,
    as_markdown,
    paper_row,
    read_rows,
)

COST = {"parameters": 1_500_000, "flops": 35_000_000, "step": 1.25}
COST |= {"memory": 2e8, "batch": 64, "device": "Processor", "backend": "jax"}
ROWS = [
    Row("none", COST, {0: 0.8, 1: 0.84, 2: 0.82}),
    Row("psa", COST, {1: 0.8}),
]


def cells(line):
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def test_the_spread_is_that_of_the_seeds():
    assert ROWS[0].mean == pytest.approx(0.82)
    assert ROWS[0].deviation == pytest.approx(0.02)  # Divided by n - 1.
    assert ROWS[1].deviation is None


def test_markdown_has_the_numbers_and_what_they_are():
    lines = as_markdown(ROWS).splitlines()
    numbers = ["1.50", "35.0", "1.25", "200", "82.00 ± 2.00 (3)"]
    assert cells(lines[2]) == ["none", *numbers]
    assert cells(lines[3])[-1] == "80.00 (1)"
    assert "64 images, jax, Processor" in lines[-1]


def test_large_networks_are_counted_in_billions():
    row = Row("se", {"parameters": 28_071_976, "flops": 4.13e9}, {})
    lines = as_markdown([row]).splitlines()
    assert "FLOPs, G" in lines[0]
    assert cells(lines[2]) == ["se", "28.07", "4.13", "–", "–", "–"]


def test_the_paper_stands_beside():
    lines = as_markdown(ROWS, "resnet50").splitlines()
    assert cells(lines[2])[-3:] == ["25.56", "4.12", "–"]
    assert cells(lines[3])[-3:] == ["22.56", "3.62", "77.49"]
    assert "not verified" in lines[-1]
    assert paper_row("simam", "resnet101") == (None, None, None)


def test_csv_has_all_digits():
    rows = list(csv.DictReader(io.StringIO(as_csv(ROWS, "resnet101"))))
    assert float(rows[0]["top1_mean"]) == ROWS[0].mean
    assert rows[1]["top1_deviation"] == ""
    assert rows[1]["paper_top1_percent"] == "78.43"


class Done:
    def costs(self):
        return {"none": COST, "se": COST}

    def result(self, name, seed):
        return {"top1": 0.1 * seed} if seed != 1 else None


def test_runs_that_are_not_finished_are_left_out():
    (row,) = read_rows(Done(), ["se"], 3)
    assert list(row.accuracies) == [0, 2]


def test_csv_has_a_column_for_each_number():
    (first, _) = csv.DictReader(io.StringIO(as_csv(ROWS, "resnet50")))
    assert first.pop("top1_deviation").startswith("0.0")
    assert first == {
        "attention": "none",
        "parameters": "1500000",
        "flops": "35000000",
        "step_ratio": "1.25",
        "memory_bytes": "200000000.0",
        "runs": "3",
        "top1_mean": "0.82",
        "paper_parameters_millions": "25.56",
        "paper_flops_billions": "4.12",
        "paper_top1_percent": "",
    }


@pytest.mark.parametrize("flops, unit", [(999_999_999, "M"), (10**9, "G")])
def test_the_largest_network_decides_about_the_unit(flops, unit):
    rows = [Row("se", {**COST, "flops": x}, {}) for x in (10**6, flops)]
    assert f"| FLOPs, {unit} |" in as_markdown(rows)
