"""The branches of PSA modules, fitted to the convolutions that they replace."""

from typing import NamedTuple

import keras
import numpy as np

from keras_epsanet.weights.graph_parts import (
    GraphPart,
    first_outputs,
    normalization_behind,
    run_to_each,
)

# Output pixels that a module is fitted to: so many, ...
LEAST_PIXELS, MOST_PIXELS = 4096, 8192
# ... and between these so many for each unknown of an output.
PIXELS_PER_UNKNOWN = 3
# Of the mean square of an input, added to the squares of all inputs.
RIDGE = 1e-3
# A channel of which a module explains less is not made larger further.
LEAST_RATIO = 0.01
_TINY = np.finfo("float32").tiny


class Pair(NamedTuple):
    """A module and what its output is to be.

    Attributes:
        psa: `PSA` layer.
        source: Layer of the source model.
        order: Array of integers: output n of the module is output
            `order[n]` of the source's layer.
    """

    psa: keras.layers.Layer
    source: keras.layers.Layer
    order: np.ndarray


class _Statistics(NamedTuple):
    """Mean and variance of every channel."""

    mean: np.ndarray
    variance: np.ndarray


def fit_pyramids(model, source, pairs, batches, seed=0, verbose=True):
    """Fits PSA modules one after another, each to what reaches it.

    The attention must be neutral: then a module is linear in its kernels,
    and those of every group of every branch solve a least-squares problem of
    their own. What a module does not make of its input, those behind it
    learn to make up for, as they are fitted to their own inputs.

    Args:
        model: Functional model, whose modules are given new kernels.
        source: Functional model for the same images.
        pairs: List of `Pair`.
        batches: List of arrays of images, as both models take them.
        seed: Integer; which pixels the modules are fitted to follows from it.
        verbose: Whether a progress bar is shown.

    Returns:
        Dictionary from names of modules to the share of the variance of
        their targets that they explain.
    """
    generator = np.random.default_rng(seed)
    targets = _sample_targets(source, pairs, batches, generator)
    progress = keras.utils.Progbar(
        len(pairs), verbose=int(verbose), unit_name="module"
    )
    modules = [pair.psa for pair in pairs]
    explained = {}
    for psa, inputs in run_to_each(model, modules, batches):
        places, values = targets.pop(psa.name)
        found, residual = _fit(psa, inputs, places, values)
        values = np.concatenate(values).astype("float64")
        wanted = _Statistics(values.mean(0), values.var(0))
        explained[psa.name] = 1.0 - residual / (wanted.variance.sum() + 1e-12)
        bias, normalization = normalization_behind(model, psa)
        if normalization is not None:
            _correct(bias, normalization, found, wanted)
        progress.add(1)
    return explained


def _correct(bias, normalization, found, wanted):
    """Lets a batch normalization make up for what a module does not explain.

    What it makes of the module's output gets the mean and variance of what
    it makes of the target, whatever images its own statistics are from.
    """
    mean, variance = (
        keras.ops.convert_to_numpy(x).astype("float64")
        for x in (normalization.moving_mean, normalization.moving_variance)
    )
    shift = 0.0
    if bias is not None:
        shift = keras.ops.convert_to_numpy(bias.bias).astype("float64")
    ratio = found.variance / np.maximum(wanted.variance, 1e-12)
    ratio = np.maximum(ratio, LEAST_RATIO)
    offset = (wanted.mean + shift - mean) * np.sqrt(ratio)
    epsilon = normalization.epsilon
    variance = ratio * (variance + epsilon) - epsilon
    normalization.moving_mean.assign(found.mean + shift - offset)
    normalization.moving_variance.assign(np.maximum(variance, 0.0))


def _sample_targets(source, pairs, batches, generator):
    """Draws output pixels of each layer of the source, with their values."""
    outputs = GraphPart(
        source.inputs, first_outputs(source, [pair.source for pair in pairs])
    )
    count = sum(len(batch) for batch in batches)
    places, values = [[] for _ in pairs], [[] for _ in pairs]
    for batch in batches:
        for i, (pair, features) in enumerate(zip(pairs, outputs.run([batch]))):
            features = _channels_last(features, pair.psa)
            number = -(-_pixels(pair.psa) // count)
            place = _draw(features.shape, number, generator)
            places[i].append(place)
            values[i].append(
                features[place[0], place[1], place[2]][:, pair.order]
            )
    return {
        pair.psa.name: (place, value)
        for pair, place, value in zip(pairs, places, values)
    }


def _pixels(psa):
    unknowns = max(
        np.prod(convolution.kernel.shape[:3])
        for convolution in psa.spc.convolutions
    )
    wanted = PIXELS_PER_UNKNOWN * int(unknowns)
    return min(max(wanted, LEAST_PIXELS), MOST_PIXELS)


def _draw(shape, number, generator):
    """Draws so many pixels of every image: images, rows and columns."""
    images, height, width, _ = shape
    number = min(number, height * width)
    pixels = generator.random((images, height * width)).argsort(-1)
    pixels = pixels[:, :number].reshape(-1)
    return np.arange(images).repeat(number), pixels // width, pixels % width


def _channels_last(features, layer):
    if layer.data_format == "channels_first":
        features = np.moveaxis(features, 1, -1)
    return np.asarray(features, "float32")


def _fit(psa, inputs, places, values):
    """Fits one module.

    Returns the statistics of its output at these places, and the sum over
    the channels of the mean square of what is wrong with it.
    """
    scales = len(psa.kernel_sizes)
    width = psa.spc.scale_filters
    means, variances, residuals = [], [], 0.0
    for branch, convolution in enumerate(psa.spc.convolutions):
        outputs = slice(branch * width, (branch + 1) * width)
        seen = convolution.kernel.shape[2] * convolution.groups
        first = branch * seen if psa.split_input else 0
        kernel, statistics, residual = _fit_branch(
            convolution,
            [_channels_last(x, psa)[..., first : first + seen] for x in inputs],
            places,
            [scales * value[:, outputs] for value in values],
        )
        convolution.kernel.assign(kernel)
        means.append(statistics.mean / scales)
        variances.append(statistics.variance / scales**2)
        residuals += residual / scales**2
    found = _Statistics(np.concatenate(means), np.concatenate(variances))
    return found, residuals


def _fit_branch(convolution, inputs, places, targets):
    """Solves the normal equations of every group of one convolution.

    The kernel that is there counts as known: what is fitted, with a small
    ridge, is what has to be added to it. Returns the kernel, the statistics
    of the outputs, and the sum of their mean squared errors.
    """
    # Imported where it is used, so that the package is imported sooner.
    from scipy.linalg import cho_factor, cho_solve

    groups = convolution.groups
    kernel = keras.ops.convert_to_numpy(convolution.kernel).astype("float32")
    kernel = np.stack(np.split(kernel, groups, axis=-1))
    shape = kernel.shape
    kernel = kernel.reshape(groups, -1, shape[-1])
    sums = _sum_up(convolution, inputs, places, targets, kernel)
    count = sum(len(target) for target in targets)
    square, means, variances = sums.square, [], []
    for group in range(groups):
        gram, right = sums.gram[group], sums.right[group]
        ridge = RIDGE * np.trace(gram) / len(gram) + _TINY
        damped = gram + ridge * np.eye(len(gram), dtype="float32")
        factor = cho_factor(damped, overwrite_a=True, check_finite=False)
        change = cho_solve(factor, right, check_finite=False)
        kernel[group] += change
        # |y - Xd|² = |y|² - 2 d.r + d.(X'X)d, where (X'X + ridge) d = r.
        square -= (change * right).sum(dtype="float64")
        square -= ridge * np.square(change, dtype="float64").sum()
        mean = sums.patches[group] @ kernel[group] / count
        squares = (kernel[group] * (gram @ kernel[group])).sum(0) / count
        means.append(mean)
        variances.append(np.maximum(squares - np.square(mean), 0.0))
    statistics = _Statistics(np.concatenate(means), np.concatenate(variances))
    kernel = np.concatenate(list(kernel.reshape(shape)), axis=-1)
    return kernel, statistics, square / count


class _Sums(NamedTuple):
    """Sums over the pixels, for each group of a convolution."""

    gram: np.ndarray  # Of products of two inputs.
    right: np.ndarray  # Of products of an input and what is still wrong.
    patches: np.ndarray  # Of inputs.
    square: float  # Of the square of what is still wrong.


def _sum_up(convolution, inputs, places, targets, kernel):
    groups, unknowns, made = kernel.shape
    gram = np.zeros((groups, unknowns, unknowns), "float32")
    right = np.zeros((groups, unknowns, made), "float32")
    sums, square = np.zeros((groups, unknowns)), 0.0
    for image, place, target in zip(inputs, places, targets):
        patches = _patches(image, place, convolution, groups)
        target = target.reshape(len(target), groups, -1).transpose(1, 0, 2)
        wrong = target - patches @ kernel
        square += np.square(wrong, dtype="float64").sum()
        sums += patches.sum(1, dtype="float64")
        for group in range(groups):
            gram[group] += patches[group].T @ patches[group]
            right[group] += patches[group].T @ wrong[group]
    return _Sums(gram, right, sums, square)


def _patches(image, place, convolution, groups):
    """What a convolution multiplies with its kernel: groups, pixels, inputs."""
    heights, widths = convolution.kernel_size
    padding = [(0, 0), (heights // 2,) * 2, (widths // 2,) * 2, (0, 0)]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(image, padding), (heights, widths), axis=(1, 2)
    )
    # Channels last, as they lie in memory: the copy is faster.
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    images, rows, columns = place
    down, right = convolution.strides
    patches = windows[images, rows * down, columns * right]
    patches = patches.reshape(len(images), heights * widths, groups, -1)
    patches = np.ascontiguousarray(patches.transpose(2, 0, 1, 3))
    return patches.reshape(groups, len(images), -1)
