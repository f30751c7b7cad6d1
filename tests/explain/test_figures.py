"""The pixels of the pictures that say something."""

import keras
import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.explain import figures
from keras_epsanet.explain.attention_weights import Attention, LayerAttention
from keras_epsanet.models.preprocessing import preprocess_input

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """Figures and paths in place of files."""
    saved = []
    monkeypatch.setattr(figures, "save", lambda *x: saved.append(x))
    yield saved
    for figure, _ in saved:
        figures.import_pyplot().close(figure)


def turbo(value):
    return 255 * np.array(matplotlib.colormaps["turbo"](value)[:3])


def shown(axis):
    """The pixels of the picture in an axis."""
    (picture,) = axis.images
    return np.asarray(picture.get_array())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_map_lies_half_over_the_image(value):
    image = np.full((2, 3, 3), 100, "uint8")
    found = figures.overlay(image, np.full((2, 3), value))
    np.testing.assert_allclose(
        found, np.broadcast_to((100 + turbo(value)) / 2, (2, 3, 3)), atol=1
    )
    np.testing.assert_array_equal(
        figures.overlay(image, np.full((2, 3), value), strength=0), image
    )


def test_hot_pixels_are_red_and_cold_ones_blue():
    heat = np.array([[1.0, 0.1]])
    (hot, cold) = figures.overlay(np.zeros((1, 2, 3)), heat)[0]
    assert hot[0] > 2 * hot[2] and cold[2] > 2 * cold[1]


def test_images_of_all_ranges_are_drawn_alike():
    keras.config.set_image_data_format("channels_last")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), "uint8")
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    normalized = preprocess_input(pixels.astype("float32"))
    for images in (pixels, pixels / 255, normalized):
        np.testing.assert_array_equal(figures.as_pixels(images), pixels)
    first = np.moveaxis(pixels, -1, 1)
    np.testing.assert_array_equal(
        figures.as_pixels(first, "channels_first"), pixels
    )


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
                figures.overlay(images[i], heat[i]),
            )
    assert [x.get_ylabel() for x in grid[:3, 0]] == ["", "first", "second"]
    assert not any(axis.images for axis in grid[3:, 1])


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
        assert (shown(axis) == figures.overlay(image, heat)).all()


@pytest.fixture
def found():
    """Weights of two stages, of which the second prefers the large scale."""
    scales = np.full((4, 2, 8), 0.5, "float32")
    third = scales.copy()
    third[:, 0], third[:, 1] = 0.2, 0.8
    third[:2, 0], third[:2, 1] = 0.4, 0.6
    maps = np.zeros((4, 2, 2, 2), "float32")
    maps[:, 1, 0, 0] = 3
    layers = [
        LayerAttention(
            f"{stage}_block1_psa", "PSA", stage, ("3×3", "5×5"), x, maps
        )
        for stage, x in (("conv2", scales), ("conv3", third))
    ]
    return Attention(layers, np.array([0, 0, 1, 1]), ["ant", "bee"])


def test_bars_have_the_mean_weights_of_the_stages(drawn, found):
    explain.draw_attention(found, "attention.png")
    bars, table, *_ = drawn[0][0].axes
    heights = [
        [bar.get_y() + bar.get_height() for bar in container]
        for container in bars.containers
        if isinstance(container, matplotlib.container.BarContainer)
    ]
    np.testing.assert_allclose(heights, [[0.5, 0.3], [0.5, 0.7]], atol=1e-6)
    assert [x.get_text() for x in bars.get_xticklabels()] == ["conv2", "conv3"]
    (neutral,) = [x for x in bars.lines if x.get_linestyle() == "--"]
    assert list(neutral.get_ydata()) == [0.5, 0.5]
    legend = drawn[0][0].legends[0]
    assert [x.get_text() for x in legend.texts] == ["3×3", "5×5"]
    # Ants have more of the small scale than all images, bees less.
    np.testing.assert_allclose(
        shown(table), [[0, 0, 0.1, -0.1], [0, 0, -0.1, 0.1]], atol=1e-6
    )
    assert [x.get_text() for x in table.get_yticklabels()] == ["ant", "bee"]
    columns = [x.get_text() for x in table.get_xticklabels()]
    assert columns == ["conv2 3×3", "conv2 5×5", "conv3 3×3", "conv3 5×5"]


def test_one_class_is_not_compared(drawn, found):
    one = found._replace(predicted=np.zeros(4, "int64"))
    explain.draw_attention(one, "attention.png")
    assert len(drawn[0][0].axes) == 1


def test_scales_of_a_stage_have_one_range_of_colors(drawn, found):
    image = np.full((8, 8, 3), 60, "uint8")
    explain.draw_scale_maps(image, found, 2, "scales.png")
    grid = np.array(drawn[0][0].axes).reshape(2, 3)
    assert (shown(grid[0, 0]) == image).all()
    cold = (60 + turbo(0.0)) / 2
    for row in grid:
        np.testing.assert_allclose(
            shown(row[1]), np.broadcast_to(cold, (8, 8, 3)), atol=1
        )
        # The large scale is active in the upper left corner alone.
        np.testing.assert_allclose(
            shown(row[2])[0, 0], (60 + turbo(1.0)) / 2, atol=1
        )
        np.testing.assert_allclose(shown(row[2])[-1, -1], cold, atol=1)
    titles = [axis.get_title() for axis in grid[1, 1:]]
    assert titles == ["3×3: 20%", "5×5: 80%"]
    assert [axis.get_ylabel() for axis in grid[:, 0]] == ["conv2", "conv3"]


def test_channels_are_drawn_where_there_are_no_scales(drawn):
    weights = np.linspace(0, 1, 9, dtype="float32")[None]
    weights[0, 0] = np.nan
    layer = LayerAttention("conv2_block1_se", "SE", "conv2", channels=weights)
    explain.draw_attention(Attention([layer], None, None), "attention.png")
    (axis,) = drawn[0][0].axes
    medians = [line.get_ydata()[0] for line in axis.lines]
    assert np.median(weights[0, 1:]) in medians
    assert axis.get_xticklabels()[0].get_text() == "conv2_block1_se"


def test_what_has_nothing_to_draw_is_refused():
    layer = LayerAttention(
        "gc", "GlobalContext", "gc", pixels=np.ones((1, 2, 2))
    )
    found = Attention([layer], None, None)
    with pytest.raises(ValueError, match=r"scales or channels.*GlobalContext"):
        explain.draw_attention(found, "x.png")
    with pytest.raises(ValueError, match="Only PSA.*GlobalContext"):
        explain.draw_scale_maps(np.ones((2, 2, 3)), found, 0, "x.png")


def test_a_figure_is_saved_as_a_whole_and_closed(tmp_path):
    pyplot = figures.import_pyplot()
    before = pyplot.get_fignums()
    figures.save(pyplot.figure(), tmp_path / "a.png")
    assert [x.name for x in tmp_path.iterdir()] == ["a.png"]
    assert pyplot.get_fignums() == before
