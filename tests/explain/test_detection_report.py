"""The part of a page about a detector: what is written, and its pixels."""

import keras
import numpy as np
import pytest

from keras_epsanet.explain.detection_report import detection_section

pytest.importorskip("matplotlib")


def make(detector, images, folder, layer=None, min_score=0.3):
    return detection_section(
        detector, images, str(folder), "layercam", layer, 5, min_score
    )


def test_each_image_has_a_picture_of_its_detections(
    red_detector, two_spots, tmp_path
):
    images = {"a.png": two_spots[0], "b.png": np.full((40, 40, 3), 9.0)}
    section = make(red_detector, images, tmp_path)
    captions = [x.caption for row in section.rows for x in row]
    assert captions == ["a.png", "b.png: nothing found"]
    assert "5 at most and of a score of 0.3" in section.text
    assert "(layercam, the last layer of the backbone)" in section.text
    # Of the first there are three images side by side, of the second one.
    first, second = (keras.utils.load_img(row[0].path) for row in section.rows)
    assert first.width > 2.5 * second.width


def test_pixels_are_red_over_the_objects_and_blue_elsewhere(
    red_detector, two_spots, tmp_path
):
    """Of the picture itself: in the panel of each detection."""
    picture = two_spots[0]
    section = make(red_detector, {"a.png": picture}, tmp_path)
    pixels = np.asarray(keras.utils.load_img(section.rows[0][0].path), float)
    panels = np.array_split(pixels, 3, axis=1)
    for panel, (x, y) in zip(panels[1:], ((10, 14), (54, 26))):
        # Red on the red spot: where it is cold, blue is mixed in.
        is_hot = (panel[..., 0] > 100) & (panel[..., 1:].max(axis=-1) < 15)
        rows, columns = np.nonzero(is_hot)
        middle = columns.mean() / panel.shape[1], rows.mean() / panel.shape[0]
        np.testing.assert_allclose(middle, (x / 72, y / 40), atol=0.12)


def test_a_layer_is_named(red_detector, two_spots, tmp_path):
    section = make(red_detector, {"a": two_spots[0]}, tmp_path, "pool", 0.99)
    assert "(layercam, the layer pool)" in section.text
