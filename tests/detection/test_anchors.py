import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection import AnchorGenerator, retinanet

RPN = AnchorGenerator((4, 8, 16, 32, 64), (8,), (0.5, 1, 2))
RETINANET = AnchorGenerator(
    (8, 16, 32, 64, 128), retinanet.SCALES, retinanet.RATIOS
)


# MMDetection's numbers.
@pytest.mark.parametrize(
    "generator, size, number",
    [
        (RETINANET, (256, 256), 12_276),
        (RETINANET, (800, 1280), 191_970),
        (RETINANET, (800, 1344), 201_600),
        (RPN, (800, 1280), 255_780),
    ],
)
def test_number_of_anchors(generator, size, number):
    assert sum(len(level) for level in generator(*size)) == number


@pytest.mark.parametrize(
    "generator, halves",
    [
        (RETINANET, [(22.627, 11.314), (28.509, 14.254)]),
        (RPN, [(22.627, 11.314), (16, 16), (11.314, 22.627)]),
    ],
)
def test_first_anchors_are_centered_on_the_corner(generator, halves):
    level = ops.convert_to_numpy(generator(64, 64)[0])
    expected = [(-w, -h, w, h) for w, h in halves]
    np.testing.assert_allclose(level[: len(halves)], expected, atol=1e-3)


def test_anchors_go_by_row_and_column():
    level = ops.convert_to_numpy(RPN(16, 24)[0])
    centers = (level[:, :2] + level[:, 2:]) / 2
    expected = [(x, y) for y in range(0, 16, 4) for x in range(0, 24, 4)]
    np.testing.assert_allclose(centers[::3], expected, atol=1e-5)


@pytest.mark.parametrize("generator", [RETINANET, RPN])
def test_anchors_in_the_padding_are_outside(generator, plain):
    """One image ends in the middle of 32 pixels, one at their border."""
    sizes = np.array([(40, 160), (96, 33), (64, 64)])
    anchors = np.concatenate(
        [ops.convert_to_numpy(level) for level in generator(96, 160)]
    )
    inside = ops.convert_to_numpy(generator.are_inside(96, 160, sizes))
    for size, found in zip(sizes, inside):
        expected = [plain.is_inside(anchor, size) for anchor in anchors]
        assert 0 < sum(expected) < len(anchors)
        np.testing.assert_array_equal(found, expected)


def test_sizes_that_strides_do_not_divide_are_rounded_up():
    assert [len(x) // 9 for x in RETINANET(65, 100)] == [117, 35, 12, 4, 1]
