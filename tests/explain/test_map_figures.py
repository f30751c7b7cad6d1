"""The pixels of maps over images."""

import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.explain import map_figures
from keras_epsanet.explain.attention_values import Attention, LayerAttention
from keras_epsanet.explain.detection_maps import DetectionMaps
from keras_epsanet.explain.pixels import overlay

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """Figures and paths in place of files."""
    saved = []
    monkeypatch.setattr(map_figures, "save", lambda *x: saved.append(x))
    yield saved
    for figure, _ in saved:
        import_pyplot().close(figure)


def turbo(value):
    return 255 * np.array(matplotlib.colormaps["turbo"](value)[:3])


def shown(axis):
    """The pixels of the picture in an axis."""
    (picture,) = axis.images
    return np.asarray(picture.get_array())


def test_maps_are_drawn_below_their_images(drawn):
    images = np.zeros((3, 4, 6, 3), "uint8")
    images += np.array([50, 100, 150], "uint8")[:, None, None, None]
    maps = {
        "first": np.zeros((3, 4, 6)) + np.array([0, 0.5, 1])[:, None, None],
        "second": np.ones((3, 4, 6)),
    }
    titles = ["$a", "b", "c"]
    explain.draw_maps(images, maps, "maps.png", titles, columns=2)
    ((figure, path),) = drawn
    assert path == "maps.png"
    grid = np.array(figure.axes).reshape(6, 2)
    for i, (top, column) in enumerate([(0, 0), (0, 1), (3, 0)]):
        assert (shown(grid[top, column]) == images[i]).all()
        assert grid[top, column].get_title() == titles[i]
        for row, heat in enumerate(maps.values(), start=1):
            np.testing.assert_array_equal(
                shown(grid[top + row, column]),
                overlay(images[i], heat[i]),
            )
    assert [x.get_ylabel() for x in grid[:3, 0]] == ["", "first", "second"]
    assert not any(x.get_ylabel() for x in grid[:, 1])
    assert not any(axis.images for axis in grid[3:, 1])


def test_a_few_images_stand_in_one_row(drawn):
    explain.draw_maps(np.zeros((2, 4, 6, 3)), np.ones((2, 4, 6)), "maps.png")
    figure = drawn[0][0]
    assert len(figure.axes) == 4
    assert not any(x.get_ylabel() or x.get_title() for x in figure.axes)
    hot = overlay(np.zeros((4, 6, 3)), np.ones((4, 6)))
    assert (shown(figure.axes[3]) == hot).all()


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\). Received: maps of the"):
        explain.draw_maps(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 5)), "x.png")


def test_maps_of_models_stand_beside_the_image(drawn):
    image = np.full((4, 6, 3), 80, "uint8")
    maps = {"left 90%": np.zeros((4, 6)), "right 80%": np.ones((4, 6))}
    explain.draw_beside(image, maps, "beside.png")
    ((figure, _),) = drawn
    first, *others = figure.axes
    assert (shown(first) == image).all() and len(others) == 2
    for axis, (name, heat) in zip(others, maps.items()):
        assert axis.get_title() == name
        assert (shown(axis) == overlay(image, heat)).all()


def test_scales_of_a_stage_have_one_range_of_colors(drawn, weighed):
    # Of any color: the maps lie over a gray of 60.
    image = np.broadcast_to(np.array([30, 60, 90], "uint8"), (8, 8, 3))
    # Whatever the smallest number is.
    maps = weighed.layers[0].scale_maps + 2
    maps[:, 0, 0, 1] += 0.75
    layers = [x._replace(scale_maps=maps) for x in weighed.layers]
    found = weighed._replace(layers=layers)
    explain.draw_scale_maps(image, found, 2, "scales.png")
    grid = np.array(drawn[0][0].axes).reshape(2, 3)
    cold = (60 + turbo(0.0)) / 2
    for row in grid:
        assert (shown(row[0]) == image).all()
        # Half as much as the largest number of both.
        np.testing.assert_allclose(
            shown(row[1])[-1, -1], (60 + turbo(0.5)) / 2, atol=2
        )
        np.testing.assert_allclose(shown(row[1])[0, 0], cold, atol=1)
        # The large scale is active in the upper left corner alone.
        np.testing.assert_allclose(
            shown(row[2])[0, 0], (60 + turbo(1.0)) / 2, atol=1
        )
        np.testing.assert_allclose(shown(row[2])[-1, -1], cold, atol=1)
        # The small one on the right, below: not mirrored.
        np.testing.assert_allclose(shown(row[1])[-1, 0], cold, atol=1)
        np.testing.assert_allclose(
            shown(row[1])[0, -1], (60 + turbo(0.25)) / 2, atol=2
        )
    titles = [axis.get_title() for axis in grid[1, 1:]]
    assert titles == ["3×3: 20%", "5×5: 80%"]
    assert [axis.get_ylabel() for axis in grid[:, 0]] == ["conv2", "conv3"]


def test_what_has_no_scales_is_refused():
    layer = LayerAttention(
        "gc", "GlobalContext", "gc", pixels=np.ones((1, 2, 2))
    )
    found = Attention([layer], None, None)
    with pytest.raises(ValueError, match="Only PSA.*GlobalContext"):
        explain.draw_scale_maps(np.ones((2, 2, 3)), found, 0, "x.png")


def test_factors_of_pixels_are_drawn_in_their_own_range(drawn):
    factors = np.full((2, 2, 2), 0.25, "float32")
    factors[1, 0, 0], factors[1, 1, 1] = 0.75, np.nan
    first = LayerAttention("conv2_block1_ema", "EMA", "conv2", pixels=factors)
    last = first._replace(stage="conv3", pixels=2 * factors)
    found = Attention(
        [first._replace(pixels=0 * factors), first, last], None, None
    )
    image = np.full((8, 8, 3), 60, "uint8")
    explain.draw_pixel_maps(image, found, 1, "pixels.png")
    whole, *others = drawn[0][0].axes
    assert (shown(whole) == image).all()
    titles = [axis.get_title() for axis in others]
    assert titles == ["conv2: 0.25 to 0.75", "conv3: 0.5 to 1.5"]
    for axis in others:
        hot, cold = shown(axis)[0, 0], shown(axis)[-1, -1]
        np.testing.assert_allclose(hot, (60 + turbo(1.0)) / 2, atol=1)
        np.testing.assert_allclose(cold, (60 + turbo(0.0)) / 2, atol=1)


def test_what_weighs_no_pixels_is_refused(weighed):
    with pytest.raises(ValueError, match=r"No layer weighs pixels.*'PSA'"):
        explain.draw_pixel_maps(np.ones((2, 2, 3)), weighed, 0, "x.png")


def test_the_last_block_of_a_stage_is_drawn(drawn, weighed):
    first, second = weighed.layers
    other = first._replace(name="conv3_block0_psa", stage="conv3")
    found = weighed._replace(layers=[first, other, second])
    image = np.zeros((8, 8, 3), "uint8")
    explain.draw_scale_maps(image, found, 0, "scales.png")
    titles = [axis.get_title() for axis in drawn[0][0].axes]
    assert titles == ["", "3×3: 50%", "5×5: 50%", "", "3×3: 40%", "5×5: 60%"]


def test_each_detection_has_its_box_its_name_and_its_map(drawn):
    image = np.full((8, 12, 3), 60, "uint8")
    maps = np.zeros((2, 8, 12), "float32")
    maps[0, :4], maps[1, 4:] = 1, 1
    boxes = np.array([[1, 0, 5, 4], [2, 4, 12, 8]], "float32")
    found = DetectionMaps(maps, boxes, np.array([1, 0]), np.array([0.9, 0.456]))
    explain.draw_detections(image, found, "boxes.png", ["hat", "$bag$"])
    whole, *others = drawn[0][0].axes
    assert (shown(whole) == image).all() and len(others) == 2
    titles = [axis.get_title() for axis in others]
    assert titles == ["1: $bag$ 0.90", "2: hat 0.46"]
    for axis, heat, box in zip(others, maps, boxes):
        assert (shown(axis) == overlay(image, heat)).all()
        # On the edges of the pixels, where the boxes are.
        assert axis.get_images()[0].get_extent() == [0, 12, 8, 0]
        assert corners(axis) == [box.tolist()]
    # The best one above the others.
    assert corners(whole) == boxes[::-1].tolist()
    # A number and a color of its own each, the same beside its map.
    numbers = {x.get_text(): tuple(x.get_position()) for x in whole.texts}
    assert numbers == {"1": (1, 0), "2": (2, 4)}
    colors = [x.get_edgecolor() for x in whole.patches[1::2]][::-1]
    assert len({*colors, (1, 1, 1, 1)}) == 3
    for i, axis in enumerate(others):
        under, over = axis.patches
        assert over.get_edgecolor() == colors[i]
        # White on both sides of it, whatever the image is.
        assert under.get_edgecolor() == (1, 1, 1, 1)
        assert under.get_linewidth() > over.get_linewidth()
        (number,) = axis.texts
        assert (number.get_text(), number.get_color()) == (str(i + 1), "white")
        assert number.get_bbox_patch().get_facecolor() == colors[i]
        assert number.get_verticalalignment() == "top"  # Within its box.
    explain.draw_detections(image, found, "boxes.png")
    assert drawn[1][0].axes[1].get_title() == "1: 1 0.90"


def corners(axis):
    """The boxes of an axis, each of which is drawn on a white one."""
    boxes = [
        [x.get_x(), x.get_y(), x.get_x() + x.get_width()]
        + [x.get_y() + x.get_height()]
        for x in axis.patches
    ]
    assert boxes[::2] == boxes[1::2]
    return boxes[::2]


def test_many_detections_are_in_rows(drawn):
    found = DetectionMaps(
        np.zeros((7, 8, 8)), np.ones((7, 4)), np.zeros(7, int), np.ones(7)
    )
    explain.draw_detections(np.zeros((8, 8, 3)), found, "x.png", columns=3)
    axes = drawn[0][0].axes
    assert len(axes) == 9 and axes[8].get_title() == ""
    assert axes[7].get_title().startswith("7: ")


def test_an_image_without_detections_stands_alone(drawn):
    found = DetectionMaps(
        np.zeros((0, 8, 8)), np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    )
    explain.draw_detections(np.zeros((8, 8, 3)), found, "x.png")
    assert len(drawn[0][0].axes) == 1
