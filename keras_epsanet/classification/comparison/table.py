"""The table of a comparison, as Markdown and CSV."""

import csv
import io
import statistics
from typing import NamedTuple

from keras_epsanet.paper import TABLE_2, TABLE_2_COMPARED

# The paper's own networks, the only ones whose accuracies are checked here.
_EPSANETS = {"resnet50": "epsanet50_small", "resnet101": "epsanet101_small"}


class Row(NamedTuple):
    """What is known of a network.

    Attributes:
        name: String, name of its attention.
        cost: Dictionary of `costs.count` and `costs.measure`.
        accuracies: Dictionary from seeds to top-1 accuracies from 0 to 1.
    """

    name: str
    cost: dict
    accuracies: dict

    @property
    def mean(self):
        """Float, the mean accuracy, or `None` before the first run."""
        if not self.accuracies:
            return None
        return statistics.fmean(self.accuracies.values())

    @property
    def deviation(self):
        """Float, the sample's standard deviation; `None` of a single run."""
        if len(self.accuracies) < 2:
            return None
        return statistics.stdev(self.accuracies.values())


def read_rows(folder, names, seeds):
    """Reads what is known of the networks, and the runs that are finished.

    Args:
        folder: `Folder`, in which all of them are measured.
        names: List of strings, the attentions.
        seeds: Integer, the runs that count: those with smaller seeds.

    Returns:
        List of `Row`.
    """
    costs = folder.costs()
    found = [
        [folder.result(name, seed) for seed in range(seeds)] for name in names
    ]
    return [
        Row(
            name,
            costs[name],
            {i: x["top1"] for i, x in enumerate(results) if x is not None},
        )
        for name, results in zip(names, found)
    ]


def paper_row(name, model):
    """Looks up what the paper says of a network.

    Args:
        name: String, name of the attention.
        model: `"resnet50"` or `"resnet101"`.

    Returns:
        Parameters in millions, FLOPs in billions and top-1 accuracy in
        percent, each `None` where the paper, or this package, has none.

    Example:

    >>> paper_row("psa", "resnet50"), paper_row("se", "resnet50")
    ((22.56, 3.62, 77.49), (28.07, 4.13, None))
    """
    if name == "psa":
        return TABLE_2[_EPSANETS[model]][:3]
    attention = None if name == "none" else name
    return (*TABLE_2_COMPARED.get((model, attention), (None, None)), None)


def paper_model(model):
    """Returns the network of the paper that stands beside a frame's.

    Args:
        model: String, name of the frame.

    Example:

    >>> paper_model("narrow"), paper_model("resnet101")
    ('resnet50', 'resnet101')
    """
    return model if model in _EPSANETS else "resnet50"


def records(rows, model=None):
    """Lists the numbers of every row, for CSV.

    Args:
        rows: List of `Row`.
        model: `"resnet50"` or `"resnet101"`, whose figures in the paper are
            put beside, or `None`.

    Returns:
        List of dictionaries with the same keys; what is not known is `""`.
    """
    found = []
    for row in rows:
        record = {
            "attention": row.name,
            "parameters": row.cost["parameters"],
            "flops": row.cost["flops"],
            "step_ratio": row.cost.get("step"),
            "memory_bytes": row.cost.get("memory"),
            "runs": len(row.accuracies),
            "top1_mean": row.mean,
            "top1_deviation": row.deviation,
        }
        if model:
            names = ("parameters_millions", "flops_billions", "top1_percent")
            for name, value in zip(names, paper_row(row.name, model)):
                record[f"paper_{name}"] = value
        found.append(
            {k: "" if value is None else value for k, value in record.items()}
        )
    return found


def as_csv(rows, model=None):
    """Returns the table as the text of a CSV file; as `records`."""
    found = records(rows, model)
    text = io.StringIO()
    writer = csv.DictWriter(text, found[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def as_markdown(rows, model=None):
    """Returns the table as Markdown, with what is to be known of it below.

    Args:
        rows, model: As of `records`.

    Example:

    >>> cost = {"parameters": 1_200_000, "flops": 34_000_000}
    >>> print(as_markdown([Row("se", cost, {0: 0.5, 1: 0.52})]).split("\\n")[2])
    | se | 1.20 | 34.0 | – | – | 51.00 ± 1.41 (2) |
    """
    big = max(row.cost["flops"] for row in rows) >= 1e9
    unit, scale = ("G", 1e9) if big else ("M", 1e6)
    digits = 2 if big else 1
    header = [
        "attention",
        "parameters, M",
        f"FLOPs, {unit}",
        "time of a step",
        "memory, MB",
        "top-1, % (runs)",
    ]
    lines = []
    for row in rows:
        cost = row.cost
        lines.append(
            [
                row.name,
                f"{cost['parameters'] / 1e6:.2f}",
                f"{cost['flops'] / scale:.{digits}f}",
                _number(cost.get("step"), 2),
                _number(cost.get("memory"), 0, 1e-6),
                _accuracy(row),
            ]
        )
    if model:
        title = model.replace("resnet", "ResNet-")
        header += [f"paper, {title}: M", "G", "top-1, %"]
        for row, line in zip(rows, lines):
            line += [_number(x, 2) for x in paper_row(row.name, model)]
    table = [header, ["---"] * len(header), *lines]
    text = "".join(f"| {' | '.join(line)} |\n" for line in table)
    return f"{text}\n{_notes(rows, model)}"


def _number(value, digits, factor=1):
    return "–" if value is None else f"{value * factor:.{digits}f}"


def _accuracy(row):
    if row.mean is None:
        return "–"
    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return f"{100 * row.mean:.2f}{spread} ({len(row.accuracies)})"


def _notes(rows, model):
    notes = [
        "FLOPs: convention table3 and products of activations. Accuracy: mean "
        "± standard deviation over the seeds, after the last epoch."
    ]
    steps = {
        (cost["batch"], cost["backend"], cost["device"])
        for cost in (row.cost for row in rows)
        if "batch" in cost
    }
    for batch, backend, name in sorted(steps):
        notes.append(
            f"Time and memory: a training step of {batch} images, {backend}, "
            f"{name}; the time is the ratio to that without attention, both "
            "in turns in one process."
        )
    if model:
        notes.append(
            "The paper's figures are of ImageNet at 224×224; its accuracies "
            "of other networks than EPSANet were not verified and are left "
            "out."
        )
    return "\n".join(notes) + "\n"
