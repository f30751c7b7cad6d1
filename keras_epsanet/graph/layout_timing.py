"""Times the layouts of one pyramid of convolutions on this machine."""

import keras
import numpy as np

from keras_epsanet.layers import SPC
from keras_epsanet.ops.form_timing import LEAST_GAIN, least_times
from keras_epsanet.ops.layouts import LAYOUTS
from keras_epsanet.ops.steps import compile_steps


def fastest_layout(problem, batch_size, seconds, jit):
    """Returns the layout with the fastest training step, and what it gains.

    Args:
        problem: `layouts.Pyramid` with known sizes.
        batch_size: Integer, number of images.
        seconds: Float, the most time for both, without what it takes to
            compile them.
        jit: Whether they are compiled, as in `compile_steps`.

    Returns:
        The layout, and two floats: the ratio of its time to that of the
        layout of the inputs, forward and in a training step.
    """
    steps = [_compile(problem, layout, batch_size, jit) for layout in LAYOUTS]
    forward, training = zip(*steps)
    for run in (*forward, *training):
        run()
        run()
    forward_times = least_times(forward, seconds / 3)
    times = least_times(training, seconds * 2 / 3)
    before = LAYOUTS.index(problem.data_format)
    best = int(np.argmin(times))
    if times[best] > LEAST_GAIN * times[before]:
        best = before
    ratios = [x[best] / x[before] for x in (forward_times, times)]
    return LAYOUTS[best], *map(float, ratios)


def _compile(problem, layout, batch_size, jit):
    arguments = problem._asdict()
    shape = (batch_size, *arguments.pop("input_shape"))
    layer = SPC(layout=layout, **arguments)
    layer.build(shape)
    weights = [
        keras.ops.convert_to_tensor(x.value) for x in layer.trainable_variables
    ]

    def function(images, weights):
        return layer.stateless_call(weights, [], images)[0]

    random = np.random.default_rng(0)
    images, upstream = [
        keras.ops.cast(random.standard_normal(x), problem.dtype)
        for x in (shape, layer.compute_output_shape(shape))
    ]
    return compile_steps(function, images, weights, upstream, jit)
