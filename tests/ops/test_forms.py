import math

import pytest

from keras_epsanet.ops import forms
from keras_epsanet.ops.forms import NO_TILES, Forms, Problem


@pytest.fixture(autouse=True)
def the_table_alone():
    forms.forget()
    yield
    forms.forget()


def tile(kernel_shape, groups, output_sizes, strides=(1, 1), lanes=8):
    found = forms.find(kernel_shape, strides, groups, output_sizes, lanes)
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


def test_what_was_chosen_is_taken_for_that_convolution_alone():
    shape, strides, groups = (5, 5, 8, 32), (1, 1), 4
    chosen = Forms((4, 1), (1, 4))
    # Sizes that are no integers are unknown.
    forms.choose({Problem(shape, strides, groups, (28, None)): chosen})
    assert forms.find(list(shape), [1, 1], groups, (28, "n"), 8) == chosen
    others = forms.find(shape, strides, groups, (28, 28), 8)
    assert others == Forms(NO_TILES, NO_TILES)
    forms.forget()
    found = forms.find(shape, strides, groups, (28, None), 8)
    assert found == Forms(NO_TILES, NO_TILES)


@pytest.mark.parametrize(
    "allowed, has_avx512, lanes",
    [
        (None, True, 16),
        (None, False, 8),
        ("ALL", True, 16),
        ("default", True, 16),
        ("AVX2", True, 8),
        ("AVX512_CORE", True, 16),
        ("AVX512_CORE", False, 8),
        ("SSE41", True, 8),
    ],
)
def test_lanes_are_those_that_the_processor_has_and_onednn_may_use(
    monkeypatch, allowed, has_avx512, lanes
):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if allowed:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    monkeypatch.setattr(forms, "_has_avx512", lambda: has_avx512)
    assert forms.vector_lanes() == lanes


def test_the_processor_is_asked():
    try:
        with open("/proc/cpuinfo") as file:
            flags = file.read().split()
    except OSError:
        pytest.skip("no list of the processor's features here")
    wanted = {"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"}
    assert forms._has_avx512() == (wanted <= set(flags))
