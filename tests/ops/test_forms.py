import math

import numpy as np
import pytest

from keras_epsanet.ops import forms
from keras_epsanet.ops.forms import NO_TILES, Forms, Problem


@pytest.fixture(autouse=True)
def the_table_alone():
    forms.forget()
    yield
    forms.forget()


def tile(kernel_shape, groups, output_sizes, strides=(1, 1), lanes=8):
    kernel = np.zeros(kernel_shape, "float32")
    found = forms.find(kernel, strides, groups, output_sizes, lanes)
    assert found.outputs == found.kernel_gradient
    return found.outputs


@pytest.mark.parametrize(
    "lanes, depth, shape",
    [
        (8, 1, (2, 4)),
        (8, 2, (2, 2)),
        (8, 3, (1, 2)),
        (8, 4, (1, 2)),
        (8, 5, NO_TILES),
        (16, 1, (4, 4)),
        (16, 2, (4, 2)),
        (16, 3, (2, 2)),
        (16, 4, (2, 2)),
        (16, 8, (2, 1)),
        (16, 9, NO_TILES),
        (16, 64, NO_TILES),
    ],
)
def test_tiles_fill_the_lanes(lanes, depth, shape):
    kernel_shape = (5, 7, 3, 6 * depth)
    assert tile(kernel_shape, 6, (40, 40), lanes=lanes) == shape
    if depth <= lanes:
        assert lanes // 2 < depth * math.prod(shape) <= lanes


@pytest.mark.parametrize(
    "depth, strides, shape",
    [
        (1, (1, 1), (4, 4)),
        (1, (1, 2), (2, 2)),
        (2, (1, 1), (2, 2)),
        (4, (2, 2), (2, 2)),
        (5, (1, 1), NO_TILES),
    ],
)
def test_tiles_of_xla_are_squares(depth, strides, shape):
    kernel_shape = (9, 9, 3, 2 * depth)
    assert tile(kernel_shape, 2, (40, 40), strides, lanes="xla") == shape


@pytest.mark.parametrize("lanes, shape", [(8, (2, 4)), (16, (2, 2))])
@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (3, 1)])
def test_strides_make_tiles_of_sixteen_lanes_smaller(lanes, shape, strides):
    found = tile((9, 9, 4, 16), 16, (40, 40), strides, lanes)
    assert found == shape


@pytest.mark.parametrize(
    "output_sizes, shape",
    [
        ((10, 12), (2, 4)),  # As large as the kernel of a tile.
        ((9, 12), NO_TILES),
        ((10, 11), NO_TILES),
        ((None, None), (2, 4)),
        (("unknown", 11), NO_TILES),
    ],
)
def test_a_tile_fits_the_image(output_sizes, shape):
    assert tile((9, 9, 4, 16), 16, output_sizes) == shape


@pytest.mark.parametrize(
    "kernel_shape, output_sizes",
    [
        ((9, 9, 4, 128), (56, 56)),  # 8 channels in a group.
        ((9, 9, 4, 16), (9, 56)),  # The kernel of a tile has 10 rows.
        ((1, 1, 4, 16), (56, 56)),  # Nothing but zeros would be added.
    ],
)
def test_nothing_is_tiled_where_it_would_not_pay(kernel_shape, output_sizes):
    assert tile(kernel_shape, 16, output_sizes) == NO_TILES


def test_candidates_fill_at_most_32_lanes_and_fit():
    problem = Problem((5, 5, 8, 32), (1, 1), 4, (28, 28))
    assert forms.candidates(problem) == [
        NO_TILES,
        (1, 2),
        (1, 4),
        (2, 1),
        (2, 2),
        (4, 1),
    ]
    pointwise = Problem((1, 1, 8, 32), (1, 1), 4, (28, 28))
    assert forms.candidates(pointwise) == [NO_TILES]


KERNEL = np.zeros((5, 5, 8, 32), "float32")
CHOSEN = Forms((4, 1), (1, 4))


def test_what_was_chosen_is_taken_for_that_convolution_alone():
    strides, groups = (1, 1), 4
    # Sizes that are no integers are unknown.
    forms.choose({Problem(KERNEL.shape, strides, groups, (28, None)): CHOSEN})
    found = forms.find(KERNEL, [1, 1], groups, (28, "n"), 8)
    assert found == CHOSEN
    table = Forms(NO_TILES, NO_TILES)
    assert forms.find(KERNEL, strides, groups, (28, 28), 8) == table
    half = KERNEL.astype("float16")
    assert forms.find(half, strides, groups, (28, None), 8) == table
    forms.forget()
    assert forms.find(KERNEL, strides, groups, (28, None), 8) == table


def test_what_is_tried_is_forgotten_and_what_was_chosen_is_not():
    problem = Problem(KERNEL.shape, (1, 1), 4, (28, 28))
    tried = Forms((2, 1), (2, 1))

    def found():
        return forms.find(KERNEL, (1, 1), 4, (28, 28), 8)

    forms.choose({problem: CHOSEN})
    with pytest.raises(KeyError), forms.tried({problem: tried}):
        assert found() == tried
        raise KeyError
    assert found() == CHOSEN


def test_what_is_asked_for_is_listed():
    kernel = np.zeros((9, 9, 4, 16), "float16")
    with forms.asked_for() as asked:
        found = forms.find(kernel, [1, 1], 16, (40, "n"), 8)
    forms.find(KERNEL, (1, 1), 4, (40, 40), 8)
    problem = Problem((9, 9, 4, 16), (1, 1), 16, (40, None), "float16")
    assert asked == {problem: found}
