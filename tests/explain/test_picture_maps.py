"""Which pixels of a picture speak for its detections, in its own pixels."""

import keras
import numpy as np
import pytest

from keras_epsanet import explain
from keras_epsanet.explain.picture_maps import detection_cam


def inside(box, size):
    """Where a box is, `(H, W)`."""
    left, top, right, bottom = np.round(box).astype(int)
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_map_lies_over_the_box_of_its_object(red_detector, two_spots):
    picture, boxes = two_spots
    found = detection_cam(red_detector, picture, min_score=0.3)
    assert found.labels.tolist() == [1, 1]  # The reddest first.
    assert found.scores[0] > found.scores[1] > 0.3
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
    assert found.maps.shape == (2, 40, 72)
    for heat, box in zip(found.maps, boxes):
        is_object = inside(box, heat.shape)
        assert heat[is_object].max() > 0.99
        assert heat[~is_object].max() < 0.01
        # And the highest pixels are in the middle of it.
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert abs(column - (box[0] + box[2]) / 2) <= 2
        assert abs(row - (box[1] + box[3]) / 2) <= 2


def test_grad_cam_weighs_channels_so_that_both_objects_are_hot(
    red_detector, two_spots
):
    picture, boxes = two_spots
    found = detection_cam(
        red_detector, picture, method="gradcam", min_score=0.3
    )
    assert len(found.maps) == 2
    for heat in found.maps:
        first, second = (heat[inside(box, heat.shape)].max() for box in boxes)
        assert first > 0.99 and 0.5 < second < 0.99


def test_what_is_found_is_what_detect_finds(red_detector, two_spots):
    """With boxes that end where the picture does, not where its padding."""
    picture, _ = two_spots
    picture[36:40, 68:72] = 255, 0, 0
    expected = red_detector.detect(picture, min_score=0.3)
    found = detection_cam(red_detector, picture, min_score=0.3)
    assert len(found.boxes) == 3 and found.boxes.max() == 72
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected["labels"])


def test_the_best_are_explained_and_those_of_the_score(red_detector, two_spots):
    picture, boxes = two_spots
    for options, number in (
        ({"max_detections": 1}, 1),
        ({"min_score": 0.85}, 1),
        ({"min_score": 0.99}, 0),
        ({"min_score": 0.3, "classes": "green"}, 0),
    ):
        found = detection_cam(red_detector, picture, **options)
        assert found.maps.shape == (number, 40, 72)
        np.testing.assert_allclose(
            found.boxes, np.reshape(boxes[:number], (-1, 4)), atol=1e-3
        )


def test_a_map_has_the_whole_range_without_its_padding(red_detector):
    """Whose pixels may be the highest of all."""
    picture = np.full((40, 72, 3), 120.0)
    picture[36:40, 68:72] = 160, 80, 80
    # The cells below the picture are a little red.
    for heat in detection_cam(red_detector, picture, max_detections=3).maps:
        assert heat.min() == 0 and heat.max() == pytest.approx(1, abs=1e-5)


def test_a_classifier_and_bad_arguments_are_refused(red_detector, colors):
    picture = np.zeros((8, 8, 3))
    with pytest.raises(ValueError, match="must be one of keras_epsanet.det"):
        explain.detection_cam(colors(), picture)
    for options, message in (
        ({"method": "scorecam"}, "explained by gradcam, .*scorecam"),
        ({"max_detections": 0}, "max_detections=0"),
        ({"layer": "rde"}, "did you mean red"),
        ({"classes": "blue"}, "any of green, red.*classes='blue'"),
    ):
        with pytest.raises(ValueError, match=message):
            explain.detection_cam(red_detector, picture, **options)
    with pytest.raises(ValueError, match="from 0 to 255"):
        explain.detection_cam(red_detector, picture - 1)


def test_an_image_of_any_kind_is_taken(red_detector, two_spots, tmp_path):
    picture, boxes = two_spots
    path = str(tmp_path / "a.png")
    keras.utils.save_img(path, picture, scale=False)
    found = detection_cam(
        red_detector, keras.utils.load_img(path), min_score=0.3
    )
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
