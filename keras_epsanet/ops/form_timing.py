"""Times the forms of one grouped convolution on this machine."""

import time

import keras
import numpy as np

from keras_epsanet.ops import forms
from keras_epsanet.ops.grouped_conv import grouped_convolution
from keras_epsanet.ops.steps import compile_steps

# Rounds of all forms: fewer would let a pause of the machine decide.
_FEWEST = 3
# What gains less stays as it was, so that chance changes nothing.
LEAST_GAIN = 0.98


def fastest(problem, before, batch_size, seconds):
    """Returns the fastest `Forms` of a convolution, and what they gain.

    Args:
        problem: `forms.Problem` with known sizes.
        before: `forms.Forms` to compare with.
        batch_size: Integer, number of images.
        seconds: Float, the most time for all forms, without what it takes
            to compile them.

    Returns:
        The `Forms`, and two floats: the ratio of their time to that of the
        former ones, forward and in a training step.
    """
    tiles = forms.candidates(problem)
    if len(tiles) == 1 and set(before) == set(tiles):
        return before, 1.0, 1.0
    forward = [forms.Forms(x, before.kernel_gradient) for x in tiles]
    found, ratio = _choose(problem, forward, before, 0, batch_size, seconds / 3)
    steps = [forms.Forms(found.outputs, x) for x in tiles]
    found, step_ratio = _choose(
        problem, steps, before, 1, batch_size, seconds * 2 / 3
    )
    return found, float(ratio), float(step_ratio)


def _choose(problem, all_forms, before, which, batch_size, seconds):
    if before not in all_forms:
        all_forms = [before, *all_forms]
    arrays = _operands(problem, batch_size)
    runs = []
    for each in all_forms:
        with forms.tried({problem: each}):
            run = _compile(problem, *arrays)[which]
            run()
            run()
        runs.append(_in_form(run, {problem: each}))
    times = dict(zip(all_forms, least_times(runs, seconds)))
    best = min(all_forms, key=times.get)
    if times[best] > LEAST_GAIN * times[before]:
        best = before
    return best, times[best] / times[before]


def _in_form(run, found):
    def run_in_form():
        # PyTorch asks for the form with every run.
        with forms.tried(found):
            return run()

    return run_in_form


def least_times(runs, seconds):
    """Returns the least time of each: what else runs only adds to it.

    Args:
        runs: Functions that take turns.
        seconds: Float, the most time for all of them but for three turns.
    """
    times = []
    end = time.perf_counter() + seconds
    while len(times) < _FEWEST or time.perf_counter() < end:
        row = []
        for run in runs:
            start = time.perf_counter()
            run()
            row.append(time.perf_counter() - start)
        times.append(row)
    return np.min(times, axis=0)


def _operands(problem, batch_size):
    random = np.random.default_rng(0)
    sizes = [n * s for n, s in zip(problem.output_sizes, problem.strides)]
    channels = problem.kernel_shape[2] * problem.groups
    shapes = (
        (batch_size, *sizes, channels),
        problem.kernel_shape,
        (batch_size, *problem.output_sizes, problem.kernel_shape[3]),
    )
    return [
        keras.ops.cast(random.standard_normal(shape), problem.dtype)
        for shape in shapes
    ]


def _compile(problem, image, kernel, upstream):
    def convolve(image, kernel):
        return grouped_convolution(
            image, kernel, problem.strides, problem.groups, "channels_last"
        )

    return compile_steps(convolve, image, kernel, upstream)
