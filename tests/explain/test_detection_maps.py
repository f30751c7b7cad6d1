"""What speaks for a detection: of its own class and its own place."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, explain
from keras_epsanet.detection import FasterRCNN, MaskRCNN, RetinaNet
from keras_epsanet.detection.batches import image_sizes
from keras_epsanet.explain.gradients import activations_and_gradients
from keras_epsanet.explain.map_sizes import finish
from keras_epsanet.explain.methods import layercam
from keras_epsanet.explain.model_inputs import as_input, no_gradients
from keras_epsanet.explain.replaced import observed

NAMES = ("hat", "bag", "boot")
IS_JAX = keras.backend.backend() == "jax"


def make_detector(cls):
    keras.utils.set_random_seed(0)
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    return cls(backbone, 3, class_names=NAMES, confidence_threshold=0.001)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 64, 96, 3))


def predictions(detector, images):
    """What `predict` returns, without a graph that is made for one batch."""
    with no_gradients():
        inputs = as_input(detector, images)
        outputs = detector(inputs, training=False)
        sizes = image_sizes(inputs, {})
        found = detector.predictions(inputs, outputs, sizes)
    return {k: keras.ops.convert_to_numpy(v) for k, v in found.items()}


@pytest.mark.parametrize(
    "cls",
    [
        RetinaNet,
        FasterRCNN,
        pytest.param(MaskRCNN, marks=pytest.mark.large),
    ],
)
def test_detections_are_those_of_predict(images, cls):
    detector = make_detector(cls)
    images = images[: 2 if cls is RetinaNet else 1]
    found = predictions(detector, images)
    results = explain.grad_cam(detector, images, max_detections=3, batch_size=1)
    assert len(results) == len(images)
    for i, result in enumerate(results):
        np.testing.assert_allclose(
            result.boxes, found["boxes"][i, :3], atol=0.01
        )
        np.testing.assert_allclose(
            result.scores, found["confidence"][i, :3], atol=1e-5
        )
        np.testing.assert_array_equal(result.labels, found["labels"][i, :3])
        assert result.maps.shape == (3, 64, 96)
        assert 0 <= result.maps.min() <= result.maps.max() <= 1
        assert result.maps.max() > 0.99


@pytest.mark.parametrize(
    "cls", [RetinaNet, pytest.param(FasterRCNN, marks=pytest.mark.large)]
)
def test_a_map_is_of_the_score_of_its_detection(images, cls):
    """Where it is hot, the score depends on the features more."""
    name, detector = "conv3_block1_out", make_detector(cls)
    layer = detector.get_layer(name)
    (found,) = explain.grad_cam(
        detector, images[:1], name, method="layercam", max_detections=1
    )
    heat = found.maps[0]
    assert heat.max() > 0.99
    hot, cold = heat > np.quantile(heat, 0.8), heat < np.quantile(heat, 0.2)
    changes = [
        abs(score_without(detector, layer, images, x, found) - found.scores[0])
        for x in (hot, cold)
    ]
    assert changes[0] > 2 * changes[1]


def test_each_detection_has_the_map_of_its_own_candidate(images):
    """Of the candidate with its box and class, wherever that is in the list."""
    detector = make_detector(RetinaNet)
    name, image = "conv4_block1_out", images[:1]
    (found,) = explain.grad_cam(
        detector, image, name, 1, "layercam", max_detections=2
    )
    inputs = as_input(detector, image)
    sizes = image_sizes(inputs, {})

    def candidates(tap):
        with observed(detector.get_layer(name), tap):
            outputs = detector(inputs, training=False)
            return detector.candidates(inputs, outputs, sizes)

    with no_gradients():
        boxes, _, classes = map(
            keras.ops.convert_to_numpy, candidates(lambda x: x)
        )
    assert found.labels.tolist() == [1, 1]
    places = []
    for box, heat in zip(found.boxes, found.maps):
        far = np.abs(boxes[0] - box).sum(-1) + 1e6 * (classes[0] != 1)
        place = int(far.argmin())
        assert far[place] < 0.01
        places.append(place)
        activations, _, gradients = activations_and_gradients(
            lambda tap, i=place: candidates(tap)[1][:, i : i + 1]
        )
        expected = finish(layercam(activations, gradients[0]), (64, 96))
        np.testing.assert_allclose(heat, expected[0], atol=1e-4)
    assert places != [0, 1]  # It is no test of those.


def score_without(detector, layer, images, chosen, found):
    """The score of the box that is nearest, without some of the features."""
    rows, columns = (np.arange(n) * 8 + 4 for n in (8, 12))
    keep = 1 - chosen[np.ix_(rows, columns)].astype("float32")
    with no_gradients(), observed(layer, lambda x: x * keep[..., None]):
        inputs = as_input(detector, images)
        outputs = detector(inputs, training=False)
        boxes, scores, classes = map(
            keras.ops.convert_to_numpy,
            detector.candidates(inputs, outputs, image_sizes(inputs, {})),
        )
    far = np.abs(boxes[0] - found.boxes[0]).sum(-1)
    far[classes[0] != found.labels[0]] = np.inf
    return scores[0, far.argmin()]


def test_one_class_can_be_asked_for(images):
    detector = make_detector(RetinaNet)
    for label in (1, "bag", np.int64(1)):
        results = explain.grad_cam(
            detector, images[:1], classes=label, max_detections=2
        )
        for result in results:
            assert result.labels.tolist() == [1, 1]


def test_images_without_detections_have_no_maps(images):
    detector = make_detector(RetinaNet)
    detector.confidence_threshold = 0.99
    for result in explain.grad_cam(detector, images):
        assert result.maps.shape == (0, 64, 96) and len(result.boxes) == 0


def test_images_may_have_different_numbers_of_detections(images):
    detector = make_detector(RetinaNet)
    best = predictions(detector, images)["confidence"][:, 0]
    assert best[0] != best[1]
    detector.confidence_threshold = float(best.mean())
    expected = predictions(detector, images)
    results = explain.grad_cam(detector, images, max_detections=1)
    numbers = [len(result.scores) for result in results]
    assert min(numbers) == 0 < max(numbers)
    for i, result in enumerate(results):
        assert len(result.maps) == len(result.boxes) == numbers[i]
        np.testing.assert_allclose(
            result.scores, expected["confidence"][i, : numbers[i]], atol=1e-5
        )


def test_the_last_layer_of_the_backbone_is_explained(images):
    detector = make_detector(RetinaNet)
    found, named = (
        explain.grad_cam(detector, images[:1], name, max_detections=1)
        for name in (None, "conv5_block1_out")
    )
    for one, other in zip(found, named):
        np.testing.assert_allclose(one.maps, other.maps, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"method": "scorecam"}, "gradcam, gradcam.*, layercam"),
        ({"classes": 3}, "0 to 2, or any of hat, bag, boot"),
        ({"classes": -1}, "0 to 2, or any of hat, bag, boot"),
        ({"classes": 1.0}, "must be one class"),
        ({"classes": [0, 1]}, "must be one class"),
        ({"max_detections": 0}, "max_detections=0"),
        ({"layer": "classification_conv1"}, "is called 5 times"),
    ],
)
def test_bad_arguments_are_refused(images, arguments, message):
    detector = make_detector(RetinaNet)
    with pytest.raises(ValueError, match=message):
        explain.grad_cam(detector, images, **arguments)
