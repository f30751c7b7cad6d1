"""Bars and colors of weights that are known."""

import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.explain import attention_figures
from keras_epsanet.explain.attention_values import Attention, LayerAttention

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """Figures and paths in place of files."""
    saved = []
    monkeypatch.setattr(attention_figures, "save", lambda *x: saved.append(x))
    yield saved
    for figure, _ in saved:
        import_pyplot().close(figure)


def shown(axis):
    """The pixels of the picture in an axis."""
    (picture,) = axis.images
    return np.asarray(picture.get_array())


def test_bars_have_the_mean_weights_of_the_stages(drawn, weighed):
    explain.draw_attention(weighed, "attention.png")
    bars, table, *_ = drawn[0][0].axes
    heights = [
        [bar.get_y() + bar.get_height() for bar in container]
        for container in bars.containers
        if isinstance(container, matplotlib.container.BarContainer)
    ]
    np.testing.assert_allclose(heights, [[0.5, 0.3], [0.5, 0.7]], atol=1e-6)
    for container, place in zip(bars.containers[1::2], (-0.2, 0.2)):
        middles = [bar.get_x() + bar.get_width() / 2 for bar in container]
        np.testing.assert_allclose(middles, [place, 1 + place])
        # The spread over the images, of which the second stage has some.
        segments = container.errorbar.lines[2][0].get_segments()
        spreads = [(top - low) / 2 for (_, low), (_, top) in segments]
        gray = matplotlib.colors.to_rgb("gray")
        assert (container.errorbar.lines[2][0].get_color()[:, :3] == gray).all()
        np.testing.assert_allclose(spreads, [0, 0.1], atol=1e-6)
    assert [x.get_text() for x in bars.get_xticklabels()] == ["conv2", "conv3"]
    (neutral,) = [x for x in bars.lines if x.get_linestyle() == "--"]
    assert list(neutral.get_ydata()) == [0.5, 0.5]
    assert neutral.get_color() == "gray"
    legend = drawn[0][0].legends[0]
    assert [x.get_text() for x in legend.texts] == ["3×3", "5×5"]
    # Ants have more of the small scale than all images, bees less.
    np.testing.assert_allclose(
        shown(table), [[0, 0, 0.1, -0.1], [0, 0, -0.1, 0.1]], atol=1e-6
    )
    red, _, blue, _ = table.images[0].to_rgba(0.1)
    assert red > blue  # More of a scale than in all images.
    # From the dark color of the smallest scale to the light one, as the
    # legend says.
    colors = [x.patches[0].get_facecolor() for x in bars.containers[1::2]]
    assert colors == [matplotlib.colormaps["viridis"](x) for x in (0.0, 1.0)]
    assert [x.get_facecolor() for x in legend.get_patches()] == colors
    assert bars.get_title() == "Mean weight of each scale"
    assert (bars.get_xlabel(), bars.get_ylabel()) == ("Stage", "Weight")
    assert table.get_title() == "Weight above that of all images"
    assert table.get_ylabel() == "Predicted"
    limits = table.images[0].get_clim()
    np.testing.assert_allclose(limits, (-0.1, 0.1), atol=1e-6)
    (border,) = table.lines
    assert list(border.get_xdata()) == [1.5, 1.5]
    assert border.get_color() == "black"
    assert [x.get_text() for x in table.get_yticklabels()] == ["ant", "bee"]
    columns = [x.get_text() for x in table.get_xticklabels()]
    assert columns == ["conv2 3×3", "conv2 5×5", "conv3 3×3", "conv3 5×5"]


def test_one_class_is_not_compared(drawn, weighed):
    one = weighed._replace(predicted=np.zeros(4, "int64"))
    explain.draw_attention(one, "attention.png")
    assert len(drawn[0][0].axes) == 1


def test_channels_are_drawn_where_there_are_no_scales(drawn):
    weights = np.linspace(0, 1, 9, dtype="float32")[None]
    weights[0, 0] = np.nan
    layer = LayerAttention("conv2_block1_se", "SE", "conv2", channels=weights)
    explain.draw_attention(Attention([layer], None, None), "attention.png")
    (axis,) = drawn[0][0].axes
    medians = [line.get_ydata()[0] for line in axis.lines]
    assert np.median(weights[0, 1:]) in medians
    assert axis.get_xticklabels()[0].get_text() == "conv2_block1_se"
    assert axis.get_title() == "Weights of the channels"


def test_what_has_nothing_to_draw_is_refused():
    layer = LayerAttention(
        "gc", "GlobalContext", "gc", pixels=np.ones((1, 2, 2))
    )
    found = Attention([layer], None, None)
    with pytest.raises(ValueError, match=r"scales or channels.*GlobalContext"):
        explain.draw_attention(found, "x.png")


def test_classes_without_names_have_numbers(drawn, weighed):
    predicted = np.array([0, 2, 2, 0])
    unnamed = weighed._replace(class_names=None, predicted=predicted)
    explain.draw_attention(unnamed, "attention.png")
    labels = drawn[0][0].axes[1].get_yticklabels()
    assert [x.get_text() for x in labels] == ["0", "2"]


def test_without_predictions_there_is_no_table(drawn, weighed):
    explain.draw_attention(weighed._replace(predicted=None), "attention.png")
    assert len(drawn[0][0].axes) == 1
