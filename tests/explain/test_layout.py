import pytest

from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.explain import layout

pytest.importorskip("matplotlib")


def test_a_figure_is_saved_as_a_whole_and_closed(tmp_path):
    pyplot = import_pyplot()
    before = pyplot.get_fignums()
    layout.save(pyplot.figure(), tmp_path / "a.png")
    assert [x.name for x in tmp_path.iterdir()] == ["a.png"]
    assert pyplot.get_fignums() == before


def test_axes_have_the_shape_of_the_images():
    figure, axes = layout.grid(2, 3, (50, 100))
    assert axes.shape == (2, 3)
    for axis in axes.flat:
        layout.write_above(axis, "$above")
        layout.write_beside(axis, " beside ")
        assert axis.get_title() == "$above" and axis.get_ylabel() == "beside"
        assert not axis.title.get_parse_math()
        assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0
    width, height = figure.get_size_inches()
    assert width == pytest.approx(3 * 2.2 + 0.4)
    assert height == pytest.approx(2 * (1.1 + 0.25))
    import_pyplot().close(figure)
