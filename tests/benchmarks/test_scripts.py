"""Every benchmark runs and prints numbers, on sizes as small as can be."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
SMALL = ["--batch-size", "1", "--image-size", "32", "--repeats", "2"]


def run(script, *arguments):
    result = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.splitlines()


@pytest.mark.large
@pytest.mark.parametrize("against", ["plain", "size", "no_onednn"])
def test_latency(against):
    lines = run("latency.py", "--against", against, *SMALL)
    assert re.search(r"inference +median [\d.]+", lines[1])


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="forms of TensorFlow"
)
@pytest.mark.parametrize(
    "options, columns", [([], 8), (["--milliseconds", "--threads", "1"], 10)]
)
def test_convolution(options, columns):
    lines = run("convolution.py", *SMALL, *options)
    # Four kernels in four stages, and with strides in three.
    assert len(lines) == 3 + 28
    for line in lines[3:]:
        numbers = line.split()[5:]
        assert len(numbers) == columns and all(float(x) > 0 for x in numbers)


@pytest.mark.large
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layout(dtype):
    lines = run("layout.py", *SMALL, "--dtype", dtype)
    # One in the first stage, two in each of the others.
    assert len(lines) == 2 + 7
    for line in lines[2:]:
        ratio = r"[\d.]+ \([\d.]+–[\d.]+\) +"
        assert re.search(rf"[12]  {ratio}{ratio}[-\d]+, [-\d]+$", line), line


@pytest.mark.large
def test_layers():
    lines = run("layers.py", *SMALL)
    shares = [float(re.search(r"([\d.]+)%", x)[1]) for x in lines[2:]]
    assert abs(sum(shares) - 100) < 1
    assert any(line.startswith("PSA") for line in lines)


@pytest.mark.large
def test_attention():
    sizes = ["--batch-size", "1", "--image-size", "14", "--repeats", "2"]
    lines = run("attention.py", "--attentions", "se", "psa", *sizes)
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    # SE adds weights, PSA has fewer than the 3×3 convolution.
    assert rows["se"][0] == "+8,192" and rows["psa"][0].startswith("-")
    assert all(float(x) > 0 for row in rows.values() for x in row[2:])


@pytest.mark.large
@pytest.mark.parametrize(
    "against, names", [("compositions", ["se", "abn"]), ("network", ["eca"])]
)
def test_attention_against_others(against, names):
    sizes = ["--batch-size", "1", "--image-size", "32", "--repeats", "2"]
    options = ["--against", against, "--attentions", *names, *sizes]
    rows = [line.split() for line in run("attention.py", *options)[2:]]
    assert [row[0] for row in rows] == names
    assert all(float(x) > 0 for row in rows for x in row[-2:])


@pytest.mark.large
def test_explanations():
    lines = run("explanations.py", *SMALL)
    ratios = {line[:21].strip(): float(line[21:]) for line in lines[1:]}
    assert ratios.pop("forward and backward") == 1
    assert list(ratios) == ["gradcam", "gradcam++", "layercam", "attention"]
    assert all(ratio > 0 for ratio in ratios.values())


@pytest.mark.large
def test_pointing_game(tmp_path):
    scenes = ["--scenes", "32", "--test-scenes", "40", "--epochs", "1"]
    files = ["--weights", tmp_path / "a.weights.h5"]
    files += ["--picture", tmp_path / "maps.png"]
    lines = run("pointing_game.py", *scenes, *files)
    rows = [line for line in lines if "random weights" in line]
    assert [row.split()[0] for row in rows] == [
        *("gradcam", "gradcam++", "layercam")
    ]
    shares = re.findall(r"([\d.]+)%", "".join(rows))
    assert len(shares) == 6 and all(0 <= float(x) <= 100 for x in shares)
    assert (tmp_path / "maps.png").is_file()
    # The second time the weights are read.
    assert "Epoch" not in "".join(run("pointing_game.py", *scenes, *files))


@pytest.mark.large
def test_memory():
    sizes = ["--batch-sizes", "1", "--image-sizes", "32", "64"]
    lines = run("memory.py", "--mode", "inference", *sizes)
    first, second = ([float(x) for x in line.split()] for line in lines[2:])
    assert first[:2] == [1, 32] and first[-2:] == [1, 1]
    assert second[2] > 0


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
def test_input_pipeline_of_masks():
    pytest.importorskip("pycocotools")
    sizes = ["--images", "4", "--batch-size", "2", "--batches", "2"]
    lines = run("input_pipeline.py", "--coco", *sizes, "--repeats", "2")
    for name, line in zip(("without", "with"), lines[1:]):
        found = re.fullmatch(rf"{name} +masks +[\d.]+ images/s +(.*) GB", line)
        assert float(found[1]) > 0.3
    assert re.search(r"with / without: median [\d.]+  quartiles", lines[3])


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
def test_memory_of_reading():
    lines = run("memory.py", "--shard-sizes", "8", "--input-batches", "3")
    size, memory, _ = map(float, lines[1].split())
    assert size == 8 and 0 < memory < 1


def test_memory_shows_why_a_measurement_failed():
    path = BENCHMARKS / "memory.py"
    spec = importlib.util.spec_from_file_location("memory", path)
    memory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    with pytest.raises(SystemExit, match="for int.*'no-number'"):
        memory.measure("ResNet50", "training", "no-number")


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="timed on TensorFlow"
)
@pytest.mark.parametrize(
    "against, parameters",
    [("retinanet", "34,777,260"), ("planes", "41,204,904")],
)
def test_detection(against, parameters):
    sizes = ["--batch-size", "1", "--image-size", "64", "96", "--objects", "2"]
    arguments = ["--detector", "mask_rcnn", "--against", against, *sizes]
    lines = run("detection.py", *arguments, "--repeats", "2")
    assert lines[-2] == f"trainable 41,204,904 {parameters}"
    assert re.search(r"^median [\d.]+  quartiles", lines[-1])
    (line,) = run("detection.py", *sizes, "--memory")
    assert float(line.removesuffix(" GB")) > 0.3


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="parts in TensorFlow"
)
def test_detection_parts():
    pytest.importorskip("torch")
    sizes = ["--image-size", "64", "96", "--repeats", "1"]
    lines = run("detection_parts.py", *sizes)
    assert re.fullmatch(r"objects found \d+", lines[0])
    shares = [float(re.search(r"([\d.]+)%$", line)[1]) for line in lines[1:]]
    assert len(shares) == 8 and abs(sum(shares) - 100) < 1


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="reads with tf.data"
)
def test_trained_start():
    sizes = "--seeds 0 1 --size 32 --fitted-to 32 --labeled 64"
    network = "--blocks 1 1 --filters 64 128"
    lines = run("trained_start.py", *sizes.split(), *network.split())
    rows = [line.split() for line in lines[-5:]]
    names = ["the", "embedded", "recalibrated", "fitted", "trained"]
    assert [row[0] for row in rows] == names
    resnet = np.array(rows[0][-5:-3], float)
    assert rows[0][-3:] == ["+0.00", "±", "0.00"]
    for *_, first, second, mean, _, deviation in rows:
        values = np.array([first, second], float) - resnet
        np.testing.assert_allclose(values.mean(), float(mean), atol=0.011)
        np.testing.assert_allclose(values.std(), float(deviation), atol=0.011)


@pytest.mark.large
def test_replaced_convolutions():
    sizes = "--seeds 0 1 --size 32 --images 256 --fitted-to 64"
    lines = run("replaced_convolutions.py", *sizes.split())
    found = [float(line.split()[-1][:-1]) for line in lines[-5:-1]]
    *_, mean, _, deviation = lines[-1].split()
    differences = np.array(found[1::2]) - found[::2]
    np.testing.assert_allclose(float(mean), differences.mean(), atol=0.011)
    np.testing.assert_allclose(float(deviation), differences.std(), atol=0.011)
