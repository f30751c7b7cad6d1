import keras
import numpy as np
import pytest

from keras_epsanet.graph import layout_timing
from keras_epsanet.ops.layouts import Pyramid

PROBLEM = Pyramid(
    (6, 8, 8), 16, (3, 5), (1, 4), (2, 1), False, "channels_last", "float32"
)


@pytest.fixture
def take(monkeypatch):
    """Makes runs take the seconds that are given, and keeps their budget."""
    compiled, budgets = [], []

    def use(**seconds_of):
        def compile_pyramid(problem, layout, batch_size, jit):
            compiled.append((problem, layout, batch_size, jit))
            forward, step = seconds_of[layout]
            return (lambda: forward), (lambda: step)

        def least_times(runs, seconds):
            budgets.append(seconds)
            return np.array([run() for run in runs])

        monkeypatch.setattr(layout_timing, "_compile", compile_pyramid)
        monkeypatch.setattr(layout_timing, "least_times", least_times)
        return compiled, budgets

    return use


def test_the_layout_of_the_faster_training_step_is_taken(take):
    compiled, budgets = take(channels_last=(1, 4), channels_first=(2, 3))
    found = layout_timing.fastest_layout(PROBLEM, 5, 3.0, True)
    assert found == ("channels_first", 2.0, 0.75)
    assert compiled == [
        (PROBLEM, "channels_last", 5, True),
        (PROBLEM, "channels_first", 5, True),
    ]
    assert budgets == [1.0, 2.0]


def test_what_is_compared_with_is_the_layout_of_the_inputs(take):
    take(channels_last=(1, 3), channels_first=(2, 4))
    problem = PROBLEM._replace(data_format="channels_first")
    found = layout_timing.fastest_layout(problem, 5, 3.0, True)
    assert found == ("channels_last", 0.5, 0.75)


@pytest.mark.parametrize("step, chosen", [(0.99, "last"), (0.97, "first")])
def test_what_gains_next_to_nothing_stays_as_it_was(take, step, chosen):
    take(channels_last=(1, 1), channels_first=(1, step))
    found = layout_timing.fastest_layout(PROBLEM, 5, 3.0, True)
    assert found[0] == f"channels_{chosen}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_pyramid_is_compiled_and_timed(dtype, data_format):
    shape = (6, 8, 8) if data_format == "channels_last" else (8, 6, 8)
    problem = PROBLEM._replace(
        input_shape=shape, data_format=data_format, dtype=dtype
    )
    results = []
    for layout in ("channels_last", "channels_first"):
        keras.utils.set_random_seed(0)  # Of the kernels.
        forward, gradients = layout_timing._compile(problem, layout, 2, False)
        results.append([forward(), *_flat(gradients())])
    # Outputs, the images' gradient and those of two kernels.
    assert len(results[0]) == 4
    for one, other in zip(*results):
        one, other = map(_array, (one, other))
        limit = 1e-4 if dtype == "float32" else 0.05
        np.testing.assert_allclose(one, other, atol=limit * np.abs(one).max())
    layout, forward, step = layout_timing.fastest_layout(
        problem, 1, 0.01, False
    )
    assert layout in ("channels_last", "channels_first")
    assert forward > 0 and 0 < step <= 1


def _flat(results):

    return keras.tree.flatten(results)


def _array(tensor):

    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
