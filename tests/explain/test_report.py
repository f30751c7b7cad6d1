"""The parts of a page: what is computed for which model and image."""

import keras
import numpy as np
import pytest

from keras_epsanet.explain import report

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are prepared by TensorFlow", allow_module_level=True)
pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(record):
    """What is drawn: names and arguments."""
    kinds = ("beside", "ablation", "calibration", "confusion", "mistakes")
    return record(report, *(f"draw_{kind}" for kind in kinds))


def test_each_image_has_a_map_of_each_model(images, drawn, with_scales):
    models = {"free": with_scales(), "fixed": with_scales(16)}
    section = report.class_section(models, images, "folder", "layercam", "conv")
    (row,) = section.rows
    assert [x.caption for x in row] == ["a.png", "b.png"]
    assert [x.path for x in row] == ["folder/class_1.png", "folder/class_2.png"]
    assert "layercam, the layer conv" in section.text
    for (_, image, maps, _), expected in zip(drawn, images.values()):
        assert image is expected
        names = [title.split(":")[0] for title in maps]
        assert names == ["free", "fixed"]
        for heat in maps.values():
            # At the size of the image, whatever the model takes.
            assert heat.shape == image.shape[:2]


def test_titles_name_the_class_and_its_share(images, drawn, with_scales):
    model = with_scales()
    report.class_section({"one": model}, images, "folder", "gradcam")
    for _, image, maps, _ in drawn:
        shares = keras.ops.convert_to_numpy(model(image[None]))[0]
        name = ["ant", "bee", "cat"][shares.argmax()]
        assert list(maps) == [f"{name} {shares.max():.0%}"]


def test_models_without_scales_have_no_ablation(drawn, colors):
    models = {"plain": colors()}
    assert report.ablation_section(models, {"plain": []}, "x") is None
    assert not drawn


def test_ablations_and_mistakes_of_each_model(drawn, with_scales):
    models = {"one": with_scales(), "two": with_scales()}
    batch = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3))
    labels = np.arange(6) % 3
    data = {name: [(batch, labels)] for name in models}
    section = report.ablation_section(models, data, "folder")
    assert [x.caption for x in section.rows[0]] == ["one", "two"]
    assert "6 images" in section.text
    section = report.error_section(models, data, "folder")
    captions = [picture.caption for row in section.rows for picture in row]
    assert captions[:3] == [
        "one: what is taken for what",
        "one: how certain, how right",
        "one: the most certain mistakes",
    ]
    name, found, path = drawn[-1]
    assert name == "draw_mistakes" and path == "folder/mistakes_2.png"
    assert len(found.mistakes) == len(found.images) > 0
    right = (found.results.predicted == labels).mean()
    assert section.text.startswith(f"one: {right:.2%} of 6 images right")
    error = found.calibration().error
    assert section.text.endswith(
        f" two: {right:.2%} of 6 images right, calibration error {error:.2%}."
    )
    data = {"one": [(batch, found.results.predicted)]}
    section = report.error_section({"one": models["two"]}, data, "folder")
    assert [len(row) for row in section.rows] == [2]  # No mistake to draw.
