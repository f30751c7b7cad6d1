"""What is in the pictures, figure by figure."""

import sys

import numpy as np
import pytest

from keras_epsanet.classification import pictures
from keras_epsanet.classification.results import Results

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """Figures and paths in place of files."""
    saved = []
    monkeypatch.setattr(pictures, "_save", lambda *x: saved.append(x))
    yield saved
    for figure, _ in saved:
        pictures.import_pyplot().close(figure)


def write_log(path, epochs):
    lines = ["epoch,loss,top1,val_loss,val_top1"]
    lines += [f"{i},{i + 1},0.{i % 9},{i + 2},0.5" for i in range(epochs)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_curves_show_loss_and_accuracy_of_every_epoch(drawn, tmp_path):
    pictures.plot_curves(write_log(tmp_path / "log.csv", 3), "curves.png")
    ((figure, path),) = drawn
    assert path == "curves.png"
    found = {
        (axis.get_title(), line.get_label()): line.get_xydata().tolist()
        for axis in figure.axes
        for line in axis.lines
    }
    assert found == {
        ("Loss", "training"): [[1, 1], [2, 2], [3, 3]],
        ("Loss", "held out"): [[1, 2], [2, 3], [3, 4]],
        ("Top-1 accuracy", "training"): [[1, 0], [2, 0.1], [3, 0.2]],
        ("Top-1 accuracy", "held out"): [[1, 0.5], [2, 0.5], [3, 0.5]],
    }
    assert figure.axes[0].get_xlim() == (0.5, 3.5)
    percent = figure.axes[1].yaxis.get_major_formatter()
    assert percent.format_pct(0.5, 1) == "50%"


@pytest.mark.parametrize("epochs, marks", [(50, True), (51, False)])
def test_points_are_marked_unless_there_are_many(
    drawn, tmp_path, epochs, marks
):
    pictures.plot_curves(write_log(tmp_path / "log.csv", epochs), "a")
    found = {line.get_marker() for x in drawn[0][0].axes for line in x.lines}
    assert found == ({"o", "s"} if marks else {"None"})


NAMES = ["a name of 15 ch", "ankle boots", "$x$"]


@pytest.mark.parametrize("number, count", [(24, 8), (7, 7), (2, 2)])
def test_images_say_what_they_are_and_are_taken_for(drawn, number, count):
    images = (
        np.zeros((8, 4, 4, 3), "uint8")
        + np.arange(8, dtype="uint8")[:, None, None, None]
    )
    labels = [0, 1, 2, 0, 1, 2, 0, 1]
    probabilities = np.array([[0.2, 0.7, 0.1]] * 8)
    results = Results(NAMES, labels, probabilities)
    pictures.plot_predictions(images, results, "p.png", number)
    ((figure, path),) = drawn
    axes = [axis for axis in figure.axes if axis.images]
    assert path == "p.png" and len(axes) == count
    columns = figure.axes[0].get_gridspec().ncols
    assert columns == min(6, count)
    for i, axis in enumerate(axes):
        assert (axis.images[0].get_array() == i).all()
        title = axis.title
        # Names as long as this one are cut, others not.
        true = ["a name of 15 …", "ankle boots", "$x$"][labels[i]]
        assert title.get_text() == f"{true}\n→ ankle boots 70%"
        assert title.get_color() == ("green" if labels[i] == 1 else "red")
        assert not title.get_parse_math()
    assert not any(axis.axison for axis in figure.axes)


def test_24_images_are_drawn_at_most(drawn):
    results = Results(["a"], [0] * 30, np.ones((30, 1)))
    pictures.plot_predictions(np.zeros((30, 2, 2, 3)), results, "p.png")
    assert len(drawn[0][0].axes) == 24


@pytest.mark.parametrize("length", [14, 15])
def test_long_names_are_cut(length):
    name = "abcdefghijklmno"[:length]
    found = pictures._shortened(name)
    assert found == (name if length == 14 else "abcdefghijklm…")


def test_the_matrix_has_shares_of_the_true_classes(drawn):
    results = Results(NAMES, [0, 0, 0, 1], np.eye(3)[[0, 0, 2, 1]])
    pictures.plot_confusion(results, "c.png")
    ((figure, path),) = drawn
    axis = figure.axes[0]
    np.testing.assert_allclose(
        axis.images[0].get_array(), [[2 / 3, 0, 1 / 3], [0, 1, 0], [0, 0, 0]]
    )
    assert axis.images[0].get_clim() == (0, 1) and path == "c.png"
    # The more, the darker: the numbers on it are white from a half on.
    lightness = axis.images[0].to_rgba(np.linspace(0, 1, 5))[:, :3].sum(-1)
    assert (np.diff(lightness) < -0.3).all()
    texts = {
        x.get_position(): (x.get_text(), x.get_color()) for x in axis.texts
    }
    assert texts[0, 0] == ("2", "white") and texts[2, 0] == ("1", "black")
    assert texts[0, 2] == ("", "black") and len(texts) == 9
    assert [x.get_text() for x in axis.get_yticklabels()] == NAMES
    assert [x.get_text() for x in axis.get_xticklabels()] == NAMES
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Predicted", "True class")
    assert axis.get_title() == "Held-out images: 75.0% right"
    half = Results(NAMES, [0, 0], np.eye(3)[[0, 1]])
    pictures.plot_confusion(half, "c.png")
    assert drawn[1][0].axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("classes, readable", [(30, True), (31, False)])
def test_names_are_left_out_where_they_cannot_be_read(drawn, classes, readable):
    names = [f"c{i}" for i in range(classes)]
    results = Results(names, [0], np.eye(classes)[:1])
    pictures.plot_confusion(results, "c.png")
    figure = drawn[0][0]
    assert bool(figure.axes[0].texts) == readable
    assert figure.get_size_inches()[0] == pytest.approx(2.5 + 16.5 + 1)


def test_a_picture_is_saved_and_closed(tmp_path):
    pyplot = pictures.import_pyplot()
    before = pyplot.get_fignums()
    pictures._save(pyplot.figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists() and pyplot.get_fignums() == before


def test_matplotlib_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        pictures.import_pyplot()
