"""Which form of a grouped convolution is the fastest on a CPU.

The forms differ in the tiles of `pixel_tiles.py`: none, or so many rows and
columns of output pixels that become channels, to fill the lanes of a vector.
The forward pass and the gradient of the kernel have one each; the gradient of
the inputs, whose lanes are the channels of the inputs, needs none.
"""

import contextlib
import math
from typing import NamedTuple

import keras

NO_TILES = (1, 1)

# Rows and columns of a tile by the lanes of a vector, and by the pixels that
# fill the lanes. `python benchmarks/convolution.py` times the others.
TILES = {
    # AVX2; a form is chosen for 8 lanes where nothing was measured, too.
    8: {1: NO_TILES, 2: (1, 2), 4: (2, 2), 8: (2, 4)},
    # AVX-512.
    16: {1: NO_TILES, 2: (2, 1), 4: (2, 2), 8: (4, 2), 16: (4, 4)},
    # JAX, with AVX2, where the inputs are computed in blocks.
    "xla": {1: NO_TILES, 2: NO_TILES, 4: (2, 2), 8: (2, 2), 16: (4, 4)},
}
# Between the places of a kernel that strides lie zeros, whose products cost
# more than the lanes are worth: the 9×9 branch at the start of stage 2, on
# AVX-512 and with 2 channels a group, took 14.0 ms with 8 pixels in a tile,
# 9.6 with 4.
MOST_PIXELS_WITH_STRIDES = {8: 8, 16: 4, "xla": 4}


class Problem(NamedTuple):
    """What a form is chosen for: one grouped convolution.

    Attributes:
        kernel_shape: Tuple, `(height, width, C / groups, filters)`.
        strides: Pair of integers, in pixels.
        groups: Integer.
        output_sizes: Pair, height and width of the output in pixels; `None`
            where unknown.
        dtype: String, type that it is computed in.
    """

    kernel_shape: tuple
    strides: tuple
    groups: int
    output_sizes: tuple
    dtype: str = "float32"


class Forms(NamedTuple):
    """How it is computed: rows and columns of the tiles.

    Attributes:
        outputs: Pair of integers, tiles of the forward pass.
        kernel_gradient: Pair of integers, tiles of the kernel's gradient.
    """

    outputs: tuple
    kernel_gradient: tuple


_chosen = {}
# What `find` was asked for while `asked_for` listens.
_asked = None


def choose(forms):
    """Takes these forms from now on, where a convolution is traced.

    Args:
        forms: Dictionary of a `Forms` for each `Problem`, of a layout for
            each `layouts.Pyramid`.
    """
    _chosen.update(forms)


def forget():
    """Takes the forms of the table again, for all convolutions."""
    _chosen.clear()


@contextlib.contextmanager
def tried(forms):
    """Takes other forms within a `with` block."""
    before = dict(_chosen)
    choose(forms)
    try:
        yield
    finally:
        forget()
        choose(before)


@contextlib.contextmanager
def asked_for():
    """Yields a dictionary that fills with what is traced in the block.

    Its keys are each `Problem`, its values the `Forms` that were taken.
    """
    global _asked
    before, _asked = _asked, {}
    try:
        yield _asked
    finally:
        _asked = before


def find(kernel, strides, groups, output_sizes, lanes):
    """Returns the `Forms` that were chosen, or those of the table.

    Args:
        kernel: Tensor `(height, width, C / groups, filters)`.
        strides, groups, output_sizes: As in `Problem`; what is unknown of
            the sizes may be no integer.
        lanes: Integer, the lanes of a vector: 8 or 16; `"xla"` on JAX.
    """
    problem = Problem(
        tuple(kernel.shape),
        tuple(strides),
        groups,
        tuple(n if isinstance(n, int) else None for n in output_sizes),
        keras.backend.standardize_dtype(kernel.dtype),
    )
    return look_up(problem, _of_table(problem, lanes))


def look_up(problem, default):
    """Returns what was chosen for a problem of any kind, or the default."""
    found = _chosen.get(problem, default)
    if _asked is not None:
        _asked[problem] = found
    return found


def _of_table(problem, lanes):
    depth = problem.kernel_shape[-1] // problem.groups
    pixels = max(max(TILES[lanes]) // depth, 1)
    if max(problem.strides) > 1:
        pixels = min(pixels, MOST_PIXELS_WITH_STRIDES[lanes])
    tile = TILES[lanes][2 ** (pixels.bit_length() - 1)]
    if not fits(problem, tile):
        tile = NO_TILES
    return Forms(tile, tile)


def candidates(problem):
    """Returns the tiles that can pay for a convolution, of 2 to 32 lanes."""
    depth = problem.kernel_shape[-1] // problem.groups
    shapes = [(rows, columns) for rows in (1, 2, 4) for columns in (1, 2, 4)]
    return [
        shape
        for shape in shapes
        if shape == NO_TILES
        or (depth * math.prod(shape) <= 32 and fits(problem, shape))
    ]


def fits(problem, tile):
    """Whether tiles can save anything: a matter of the sizes alone."""
    expanded = [
        size + (pixels - 1) * stride
        for size, stride, pixels in zip(
            problem.kernel_shape, problem.strides, tile
        )
    ]
    area = math.prod(problem.kernel_shape[:2])
    # Else nothing but zeros is added, or most of the kernel would meet the
    # padding.
    return math.prod(expanded) < math.prod(tile) * area and not any(
        isinstance(output_size, int) and output_size < size
        for output_size, size in zip(problem.output_sizes, expanded)
    )
