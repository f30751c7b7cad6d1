import numpy as np
import pytest

from keras_epsanet.data.coco.masks import (
    SIDE,
    crop_objects,
    encode,
    extend_edges,
    has_mask,
)

coding = pytest.importorskip("pycocotools.mask")

SIZE = (400, 300)


def rectangle(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def crop(segmentation, size=SIZE, padded=SIZE, flip=False):
    masks, grids = crop_objects([segmentation], SIZE, size, padded, flip, 2)
    assert not masks[1].any() and not grids[1].any()
    return masks[0], grids[0]


def test_an_object_that_fits_is_cropped_pixel_by_pixel():
    mask, (rows, columns) = crop([rectangle(20, 50, 132, 90)])
    assert mask[:40, :112].min() == 255 and not mask[40:].any()
    np.testing.assert_array_equal(rows, np.arange(50, 50 + SIDE + 1))
    np.testing.assert_array_equal(columns, np.arange(20, 20 + SIDE + 1))


def test_a_larger_object_has_the_means_of_blocks():
    # Blocks of 3 rows and 2 columns, the last ones cut.
    outline = [rectangle(20, 50, 133, 280)]
    mask, (rows, columns) = crop(outline)
    assert np.all(mask[:76, :56] == 255)
    assert np.all(mask[76, :56] == round(2 / 3 * 255))
    assert np.all(mask[:76, 56] == round(1 / 2 * 255))
    assert mask[76, 56] == round(1 / 3 * 255)
    assert not mask[77:].any() and not mask[:, 57:].any()
    assert list(rows[:4]) == [50, 53, 56, 59]
    assert list(columns[:4]) == [20, 22, 24, 26]


def test_grids_follow_the_resized_image():
    _, (rows, columns) = crop(
        [rectangle(20, 50, 60, 90)], (800, 450), (800, 480)
    )
    assert list(rows[:4]) == [100, 102, 104, 106]
    # Where floor(x / 1.5) is 20, 21, 22, 23.
    assert list(columns[:4]) == [30, 32, 33, 35]


def test_grids_of_flipped_images_go_backwards():
    outline = [rectangle(20, 50, 60, 90)]
    mask, (rows, columns) = crop(outline, padded=(416, 320))
    flipped, (same_rows, backwards) = crop(outline, SIZE, (416, 320), True)
    np.testing.assert_array_equal(flipped, mask)
    np.testing.assert_array_equal(same_rows, rows)
    # Of the image, not of its padding.
    np.testing.assert_array_equal(backwards, 300 - columns)


def test_edges_at_the_border_lie_a_pixel_further_out():
    edges = extend_edges(np.array([0, 1, 30, 31, 32]), 32)
    assert list(edges) == [-1, 1, 30, 31, 33]
    _, (rows, columns) = crop([rectangle(0, 350, 40, 400)])
    assert columns[0] == -1 and rows[50] == 401
    # With padding the border is that of the padding.
    _, (rows, _) = crop([rectangle(0, 350, 40, 400)], padded=(416, 320))
    assert rows[50] == 400


def test_grids_hold_opencv_s_rounding():
    # 49 x (1 / (49 / 49.)) is exact, many others are not.
    for resized in (1067, 799, 333):
        _, (rows, _) = crop([rectangle(20, 0, 60, 100)], (resized, 300))
        scale = 1 / (resized / SIZE[0])
        for cell in (1, 7, 50, 99):
            first = int(rows[cell])
            assert np.floor(first * scale) >= cell
            assert np.floor((first - 1) * scale) < cell


def test_polygons_and_both_kinds_of_runs_are_the_same():
    outlines = [rectangle(20, 50, 60, 90), [100, 10, 150, 10, 120, 60]]
    runs = encode(outlines, *SIZE)
    pixels = coding.decode(runs).T.ravel()
    changes = np.flatnonzero(np.diff(pixels)) + 1
    lengths = np.diff(changes, prepend=0, append=pixels.size).tolist()
    listed = {"size": list(SIZE), "counts": lengths}
    text = {**runs, "counts": runs["counts"].decode()}
    for segmentation in (listed, text):
        assert has_mask(segmentation, *SIZE)
        for found, expected in zip(crop(segmentation), crop(outlines)):
            np.testing.assert_array_equal(found, expected)


def test_outlines_that_are_none_are_left_out_of_a_mask():
    good = rectangle(20, 50, 60, 90)
    # pycocotools would take four numbers for a box.
    for bad in ([1, 2, 30, 40], [1, 2, 3, 4, 5, 6, 7], [], "text"):
        assert not has_mask([bad], *SIZE)
        for outlines in ([bad, good], [good, bad]):
            assert has_mask(outlines, *SIZE)
            np.testing.assert_array_equal(crop(outlines)[0], crop([good])[0])


def test_a_mask_without_pixels_is_empty():
    mask, grid = crop([[5, 5, 5, 5, 5, 5]])
    assert not mask.any() and np.isfinite(grid).all()


@pytest.mark.parametrize(
    "segmentation, expected",
    [
        (None, False),
        ([], False),
        ({}, False),
        ("text", False),
        ([rectangle(1, 1, 5, 5)], True),
        ([[1e5, 1, 5, 1, 5, 5]], True),
        ([[1e5 + 1, 1, 5, 1, 5, 5]], False),
        ([[-1e5 - 1, 1, 5, 1, 5, 5]], False),
        ({"size": [400, 300], "counts": [100, 119900]}, True),
        ({"size": [400, 300], "counts": [120000]}, False),
        ({"size": [400, 300], "counts": [100, 119901]}, False),
        ({"size": [400, 300], "counts": [100, -1, 119901]}, False),
        ({"size": [300, 400], "counts": [100, 119900]}, False),
        ({"size": [400, 300]}, False),
        ({"counts": [100, 119900]}, False),
    ],
)
def test_which_masks_can_be_drawn(segmentation, expected):
    assert has_mask(segmentation, *SIZE) == expected
