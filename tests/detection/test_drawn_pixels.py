import keras
import numpy as np
import pytest

from keras_epsanet import detection
from keras_epsanet.detection.drawn_pixels import draw_pixels

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("size", [(480, 640), (60, 90), (722, 1011)])
def test_pixels_are_those_of_the_picture(size, tmp_path):
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    mask = np.zeros((1, *size), bool)
    mask[:, : height // 2] = True
    found = {
        "boxes": np.array([[9, 9, width // 2, height // 2]], "float32"),
        "labels": np.array([1]),
        "scores": np.array([0.9]),
        "masks": mask,
    }
    path = str(tmp_path / "a.png")
    names = ["hat", "bag"]
    detection.draw(
        image, *list(found.values())[:3], names, masks=mask, path=path
    )
    expected = np.asarray(keras.utils.load_img(path))
    pixels = draw_pixels(image, found, names)
    assert pixels.dtype == "uint8"
    np.testing.assert_array_equal(pixels, expected)
    if min(size) > 400:
        assert (pixels != image).any() and pixels.shape == (*size, 3)
