"""Pictures of numbers that are known."""

import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.classification.results import Results
from keras_epsanet.explain import result_figures
from keras_epsanet.explain.mistakes import Errors
from keras_epsanet.explain.scale_switches import ScaleAblation

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """Figures and paths in place of files."""
    saved = []
    monkeypatch.setattr(result_figures, "save", lambda *x: saved.append(x))
    yield saved
    for figure, _ in saved:
        result_figures.import_pyplot().close(figure)


def test_points_that_are_lost_without_a_scale(drawn):
    without = {
        "conv2": {"3×3": 0.5, "5×5": 0.85},
        "all": {"3×3": 0.8, "5×5": 0.1},
    }
    explain.draw_ablation(ScaleAblation(100, 0.8, without), "ablation.png")
    ((figure, path),) = drawn
    axis = figure.axes[0]
    assert path == "ablation.png"
    np.testing.assert_allclose(
        axis.images[0].get_array(), [[-30, 5], [0, -70]], atol=1e-9
    )
    assert axis.images[0].get_clim() == (-70, 70)
    red, _, blue, _ = axis.images[0].to_rgba(-70.0)
    assert red > blue  # What is missed most.
    texts = {
        x.get_position(): (x.get_text(), x.get_color()) for x in axis.texts
    }
    assert texts == {
        (0, 0): ("-30.0", "black"),
        (1, 0): ("+5.0", "black"),
        (0, 1): ("+0.0", "black"),
        (1, 1): ("-70.0", "white"),  # On a dark color.
    }
    assert axis.get_xlabel() == "Scale that is switched off"
    assert [x.get_text() for x in axis.get_xticklabels()] == ["3×3", "5×5"]
    assert [x.get_text() for x in axis.get_yticklabels()] == ["conv2", "all"]
    assert "80.0%" in axis.get_title()


def test_stages_may_have_other_scales_and_lose_little(drawn):
    without = {"conv2": {"3×3": 0.798}, "conv3": {"5×5": 0.8}}
    explain.draw_ablation(ScaleAblation(100, 0.8, without), "ablation.png")
    axis = drawn[0][0].axes[0]
    assert axis.images[0].get_clim() == (-1, 1)
    texts = {x.get_position(): x.get_text() for x in axis.texts}
    assert texts == {(0, 0): "-0.2", (1, 1): "+0.0"}


def test_bars_of_the_calibration(drawn):
    shares = [[0.95, 0.05], [0.95, 0.05], [0.55, 0.45]]
    results = Results(["a", "b"], [0, 1, 0], shares)
    found = Errors(results, np.array([1]), np.zeros((1, 2, 2, 3)))
    explain.draw_calibration(found, "calibration.png", bins=10)
    above, below = drawn[0][0].axes
    bars = {
        round(bar.get_x() + bar.get_width() / 2, 2): bar.get_height()
        for bar in above.patches
    }
    assert bars == {0.55: 1.0, 0.95: 0.5}
    counts = {
        round(bar.get_x() + bar.get_width() / 2, 2): bar.get_height()
        for bar in below.patches
    }
    assert counts == {0.55: 1, 0.95: 2}
    marks, diagonal = above.lines
    np.testing.assert_allclose(
        [marks.get_xdata(), marks.get_ydata()], [[0.55, 0.95]] * 2
    )
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    handles, labels = above.get_legend_handles_labels()
    named = dict(zip(labels, handles))
    assert named["mean probability"] is marks and marks.get_color() == "k"
    assert named["share that is right"] is above.containers[0]
    assert above.get_ylim() == (0, 1)
    assert below.get_xlabel() == "Probability of the predicted class"
    # (2 * 0.45 + 0.45) / 3
    assert "45.0%" in above.get_title()


def test_mistakes_are_drawn_with_what_they_are_taken_for(monkeypatch):
    drawn = []
    for name in ("plot_predictions", "plot_confusion"):
        monkeypatch.setattr(result_figures, name, lambda *x: drawn.append(x))
    shares = [[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]]
    results = Results(["a", "b"], [0, 1, 0], shares)
    images = np.array([100, 200], "uint8")[:, None, None, None]
    images = np.broadcast_to(images, (2, 4, 4, 3))
    found = Errors(results, np.array([1, 2]), images)
    explain.draw_mistakes(found, "mistakes.png")
    explain.draw_confusion(found, "confusion.png")
    (pixels, chosen, path, number), (whole, other_path) = drawn
    np.testing.assert_array_equal(pixels, images)
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.predicted.tolist() == [0, 1]
    assert (path, number) == ("mistakes.png", 2)
    assert whole is results and other_path == "confusion.png"


def test_there_must_be_a_mistake_to_draw():
    results = Results(["a", "b"], [0], [[0.9, 0.1]])
    found = Errors(results, np.array([], "int64"), np.array([]))
    with pytest.raises(ValueError, match="1 images that are all named right"):
        explain.draw_mistakes(found, "x.png")
