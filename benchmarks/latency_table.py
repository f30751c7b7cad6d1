"""The table of `python benchmarks/latency.py --all`: a process for each row."""

import importlib.metadata
import os
import re
import subprocess
import sys

from keras_epsanet.ops.processor import processor_name, vector_lanes

# What it is, the options, and which of the two times.
ROWS = (
    ("EPSANet-50 Small / ResNet-50", (), "both"),
    ("the same, both fused", ("--fused",), "inference"),
    ("the same, single images", ("--batch-size", "1"), "both"),
    (
        "EPSANet-50 Large / ResNet-50",
        ("--model", "epsanet50_large"),
        "both",
    ),
    (
        "EPSANet-101 Small / ResNet-101",
        ("--model", "epsanet101_small"),
        "both",
    ),
    (
        "Small / ResNet-50, as TensorFlow starts by itself",
        ("--no-settings",),
        "both",
    ),
    ("Small fused / as trained", ("--against", "plain"), "inference"),
    ("Small / with stock convolutions", ("--against", "stock"), "inference"),
)
REFERENCE = (
    "Small / the authors' PyTorch code, channels-last",
    ("--against", "reference"),
    "both",
)
PACKAGES = ("keras", "tensorflow", "torch", "jax", "numpy")


def print_table(args):
    """Measures each row in a process of its own, one after the other.

    Args:
        args: Options of latency.py; those of a row come behind.
    """
    print(
        f"{processor_name()}, {vector_lanes()} lanes, {os.cpu_count()} CPUs; "
        + ", ".join(f"{name} {version}" for name, version in versions())
    )
    print(
        f"{args.dtype}, batch {args.batch_size} and {args.image_size}×"
        f"{args.image_size} where nothing else is said; medians (quartiles) "
        f"of {args.repeats} ratios"
    )
    print("| | inference | training step | options |")
    print("| --- | --- | --- | --- |")
    rows = list(ROWS)
    if args.reference:
        name, options, mode = REFERENCE
        rows.append((name, (*options, "--reference", args.reference), mode))
    for name, options, mode in rows:
        ratios = measure(args, options, mode)
        shown = " ".join(option for option in options if option[0] != "/")
        print(
            f"| {name} | {ratios.get('inference', '–')} | "
            f"{ratios.get('training', '–')} | "
            f"{f'`{shown}`' if shown else ''} |",
            flush=True,
        )


def measure(args, options, mode):
    """Returns the ratios of a row by mode, as they are printed."""
    script = os.path.join(os.path.dirname(__file__), "latency.py")
    common = {
        "--repeats": args.repeats,
        "--dtype": args.dtype,
        "--batch-size": args.batch_size,
        "--image-size": args.image_size,
    }
    command = [sys.executable, script, "--mode", mode]
    for option, value in common.items():
        command += [option, str(value)]
    environment = dict(os.environ)
    if "--no-settings" in options:
        environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    done = subprocess.run(
        [*command, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        return dict.fromkeys(("inference", "training"), f"failed: {reason}")
    lines = re.findall(
        r"^(\w+) +median ([\d.]+) +quartiles ([\d.–]+)",
        done.stdout,
        re.MULTILINE,
    )
    return {name: f"{median} ({range_})" for name, median, range_ in lines}


def versions():
    """Returns pairs of the names and versions of what is installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
