"""The branches of PSA modules, fitted to the convolutions that they replace."""

from typing import NamedTuple

import keras
import numpy as np

from keras_epsanet.weights.embedding import branches_of
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
# One of so many images is kept out, and tells how well the modules fit.
IMAGES_PER_HELD_OUT = 8
# Of the mean square of an input, added to the squares of all inputs.
RIDGE = 1e-3
# A channel of which a module explains less is not made larger further.
LEAST_RATIO = 0.01
_TINY = np.finfo("float32").tiny


class Pair(NamedTuple):
    """A module and what its output is to be.

    Attributes:
        psa: `PSA` or `SPC` layer.
        source: Layer of the source model.
        order: Array of integers: output n of the module is output
            `order[n]` of the source's layer.
    """

    psa: keras.layers.Layer
    source: keras.layers.Layer
    order: np.ndarray


class _Pixels(NamedTuple):
    """Some output pixels of a layer."""

    places: list  # For each batch, their images, rows and columns.
    values: list  # For each batch, what the source makes there.


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
        their targets that they explain, of every eighth image, which they
        are not fitted to. Of fewer than eight images none is kept out.
    """
    generator = np.random.default_rng(seed)
    targets = _sample_targets(source, pairs, batches, generator)
    progress = keras.utils.Progbar(
        len(pairs), verbose=int(verbose), unit_name="module"
    )
    modules = [pair.psa for pair in pairs]
    explained = {}
    for psa, inputs in run_to_each(model, modules, batches):
        fitted, seen = targets.pop(psa.name)
        found, residual = _fit(psa, inputs, fitted, seen)
        wanted = _statistics(fitted)
        variance = _statistics(seen).variance.sum()
        explained[psa.name] = 1.0 - residual / (variance + 1e-12)
        bias, normalization = normalization_behind(model, psa)
        if normalization is not None:
            _correct(bias, normalization, found, wanted)
        progress.add(1)
    return explained


def _statistics(pixels):
    values = np.concatenate(pixels.values).astype("float64")
    return _Statistics(values.mean(0), values.var(0))


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
    """Draws output pixels of each layer of the source, with their values.

    Returns a dictionary from the names of the modules to the pixels that
    they are fitted to and those by which they are judged.
    """
    outputs = GraphPart(
        source.inputs, first_outputs(source, [pair.source for pair in pairs])
    )
    place_in_turn = np.arange(sum(map(len, batches))) % IMAGES_PER_HELD_OUT
    held_out = place_in_turn == IMAGES_PER_HELD_OUT - 1
    count = np.sum(~held_out)
    fitted, seen = ([_Pixels([], []) for _ in pairs] for _ in range(2))
    for batch in batches:
        held, held_out = held_out[: len(batch)], held_out[len(batch) :]
        for i, (pair, features) in enumerate(zip(pairs, outputs.run([batch]))):
            features = _channels_last(features, pair.psa)
            number = -(-_pixels(pair.psa) // count)
            place = _draw(features.shape, number, generator)
            for pixels, chosen in ((fitted[i], ~held), (seen[i], held)):
                some = tuple(x[chosen[place[0]]] for x in place)
                pixels.places.append(some)
                pixels.values.append(features[some][:, pair.order])
    if count == len(place_in_turn):
        seen = fitted
    return {pair.psa.name: both for pair, *both in zip(pairs, fitted, seen)}


def _pixels(psa):
    unknowns = max(
        np.prod(convolution.kernel.shape[:3])
        for convolution in branches_of(psa)[0].convolutions
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


def _fit(psa, inputs, fitted, seen):
    """Fits one module.

    Returns the statistics of its output where it is fitted, and the sum over
    the channels of the mean square of what is wrong with it where it is
    judged.
    """
    spc, divisor = branches_of(psa)
    width = spc.scale_filters
    means, variances, residuals = [], [], 0.0
    for branch, convolution in enumerate(spc.convolutions):
        outputs = slice(branch * width, (branch + 1) * width)
        channels = convolution.kernel.shape[2] * convolution.groups
        first = branch * channels if psa.split_input else 0
        images = [
            _channels_last(x, psa)[..., first : first + channels]
            for x in inputs
        ]
        kernel, statistics, residual = _fit_branch(
            convolution,
            images,
            *(
                _Pixels(x.places, [divisor * y[:, outputs] for y in x.values])
                for x in (fitted, seen)
            ),
        )
        convolution.kernel.assign(kernel)
        means.append(statistics.mean / divisor)
        variances.append(statistics.variance / divisor**2)
        residuals += residual / divisor**2
    found = _Statistics(np.concatenate(means), np.concatenate(variances))
    return found, residuals


def _fit_branch(convolution, images, fitted, seen):
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
    sums = _sum_up(convolution, images, fitted, kernel)
    count = sum(map(len, fitted.values))
    means, variances = [], []
    for group in range(groups):
        gram, right = sums.gram[group], sums.right[group]
        ridge = RIDGE * np.trace(gram) / len(gram) + _TINY
        damped = gram + ridge * np.eye(len(gram), dtype="float32")
        factor = cho_factor(damped, overwrite_a=True, check_finite=False)
        kernel[group] += cho_solve(factor, right, check_finite=False)
        mean = sums.patches[group] @ kernel[group] / count
        squares = (kernel[group] * (gram @ kernel[group])).sum(0) / count
        means.append(mean)
        variances.append(np.maximum(squares - np.square(mean), 0.0))
    statistics = _Statistics(np.concatenate(means), np.concatenate(variances))
    square = sum(
        np.square(wrong, dtype="float64").sum()
        for _, wrong in _errors(convolution, images, seen, kernel)
    )
    kernel = np.concatenate(list(kernel.reshape(shape)), axis=-1)
    return kernel, statistics, square / sum(map(len, seen.values))


class _Sums(NamedTuple):
    """Sums over the pixels, for each group of a convolution."""

    gram: np.ndarray  # Of products of two inputs.
    right: np.ndarray  # Of products of an input and what is still wrong.
    patches: np.ndarray  # Of inputs.


def _sum_up(convolution, images, pixels, kernel):
    groups, unknowns, made = kernel.shape
    gram = np.zeros((groups, unknowns, unknowns), "float32")
    right = np.zeros((groups, unknowns, made), "float32")
    sums = np.zeros((groups, unknowns))
    for patches, wrong in _errors(convolution, images, pixels, kernel):
        sums += patches.sum(1, dtype="float64")
        for group in range(groups):
            gram[group] += patches[group].T @ patches[group]
            right[group] += patches[group].T @ wrong[group]
    return _Sums(gram, right, sums)


def _errors(convolution, images, pixels, kernel):
    """Yields what each group sees and what is wrong with its outputs."""
    groups = len(kernel)
    for image, place, value in zip(images, *pixels):
        if not len(value):
            continue  # No image of this batch is kept out.
        patches = _patches(image, place, convolution, groups)
        value = value.reshape(len(value), groups, -1).transpose(1, 0, 2)
        yield patches, value - patches @ kernel


def _patches(image, place, convolution, groups):
    """What a convolution multiplies with its kernel: groups, pixels, inputs."""
    heights, widths = convolution.kernel_size
    padding = [(0, 0), (heights // 2,) * 2, (widths // 2,) * 2, (0, 0)]
    images, rows, columns = place
    # Most images, or those that are kept out alone: no others are padded.
    used, images = np.unique(images, return_inverse=True)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(image[used], padding), (heights, widths), axis=(1, 2)
    )
    # Channels last, as they lie in memory: the copy is faster.
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    down, right = convolution.strides
    patches = windows[images, rows * down, columns * right]
    patches = patches.reshape(len(images), heights * widths, groups, -1)
    patches = np.ascontiguousarray(patches.transpose(2, 0, 1, 3))
    return patches.reshape(groups, len(images), -1)
