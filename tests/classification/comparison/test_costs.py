import types

import keras
import pytest

from keras_epsanet.classification.comparison import costs
from keras_epsanet.classification.comparison.networks import FRAMES, Frame
from keras_epsanet.training import ClassifierRecipe

TINY = Frame("tiny", (1, 1), (16, 16))
RECIPE = ClassifierRecipe(image_size=32, batch_size=4)


def test_sizes_are_those_of_the_papers_convention():
    recipe = ClassifierRecipe(image_size=224)
    found = costs.count("none", FRAMES["resnet50"], recipe, 1000)
    assert found["parameters"] == 25_557_032
    assert round(found["flops"] / 1e9, 2) == 4.12


def test_ratios_are_of_neighboring_steps_in_both_orders():
    now, calls = [0.0], []

    def taking(seconds):
        def run():
            now[0] += seconds
            calls.append(seconds)

        return run

    pair = taking(3.0), taking(2.0)
    found = costs.ratios_of(pair, 3, clock=lambda: now[0])
    assert found == ([1.5] * 3, 3.0)
    assert calls[2:] == [3.0, 2.0, 2.0, 3.0, 3.0, 2.0]


@pytest.mark.parametrize("parts, images", [(1, 64), (4, 32)])
def test_the_step_measured_is_one_of_fit(monkeypatch, parts, images):
    """A part of a batch that is accumulated, and no more than 64 images."""
    steps = []

    def make(name, frame, recipe, classes, images):
        steps.append((name, images))
        return lambda: None

    monkeypatch.setattr(costs, "_step", make)
    recipe = ClassifierRecipe(batch_size=128, accumulation_steps=parts)
    found = costs.measure("eca", TINY, recipe, 10)
    assert steps == [("eca", images), ("none", images)]
    assert found["batch"] == images


def test_a_measurement_that_fails_is_named():
    with pytest.raises(RuntimeError, match="step of psa.*does not fit"):
        costs.measure_apart("psa", TINY, RECIPE, 10)


@pytest.mark.large
def test_a_step_is_measured_in_a_process_of_its_own():
    found = costs.measure_apart("eca", TINY, RECIPE, 10)
    assert found["batch"] == 4 and found["step"] > 0
    assert found["quartiles"][0] <= found["step"] <= found["quartiles"][1]
    assert found["memory"] > 1e6
    assert found["backend"] == keras.backend.backend()


def test_the_network_without_attention_is_its_own_measure(monkeypatch):
    made = []
    monkeypatch.setattr(
        costs, "_step", lambda *given: made.append(given) or (lambda: None)
    )
    monkeypatch.setattr(costs, "ratios_of", lambda *_: ([0.5, 2, 3], 0.25))
    sizes = iter([1000, 1500])
    monkeypatch.setattr(costs, "largest_size", lambda: next(sizes))
    monkeypatch.setattr(costs, "_gpu_memory", lambda: None)
    found = costs.measure("none", TINY, RECIPE, 10)
    assert len(made) == 1
    assert found["step"] == 1 and found["quartiles"] == [1, 1]
    assert (found["seconds"], found["memory"]) == (0.25, 500)


def test_products_of_activations_count(monkeypatch):
    counts = types.SimpleNamespace(parameters=7, flops=20, products=3)
    asked = []
    monkeypatch.setattr(
        costs.networks, "build_network", lambda *x: asked.append(x)
    )
    monkeypatch.setattr(costs, "complexity", lambda network, convention: counts)
    found = costs.count("eca", TINY, RECIPE, 10)
    assert found == {"parameters": 7, "flops": 23}
    assert asked == [("eca", TINY, 32, 10)]
