"""What docs/detection.md says is different or wrong in the libraries.

Where one of these tests fails, the library has changed: change the page too.
"""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="seen on TensorFlow"
)
keras_cv = pytest.importorskip("keras_cv")
keras_hub = pytest.importorskip("keras_hub")

SIZE = 64


def backbone(**kwargs):
    return EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 32, 32),
        kernel_sizes=(3, 5),
        groups=(1, 4),
        reduction=4,
        norm_eval=True,
        image_shape=(SIZE, SIZE, 3),
        **kwargs,
    )


def keras_hub_pyramid(use_p5=True, **kwargs):
    return keras_hub.models.RetinaNetBackbone(
        backbone(**kwargs),
        min_level=3,
        max_level=7,
        use_p5=use_p5,
        image_shape=(SIZE, SIZE, 3),
    )


def keras_hub_detector(**kwargs):
    return keras_hub.models.RetinaNetObjectDetector(
        keras_hub_pyramid(**kwargs), 3, bounding_box_format="xyxy"
    )


def keras_cv_detector(**kwargs):
    return keras_cv.models.RetinaNet(
        backbone(**kwargs), num_classes=3, bounding_box_format="xyxy"
    )


DETECTORS = {"keras_cv": keras_cv_detector, "keras_hub": keras_hub_detector}
DECODERS = {
    "keras_cv": keras_cv.layers.NonMaxSuppression,
    "keras_hub": keras_hub.layers.NonMaxSuppression,
}


@pytest.fixture
def mixed_bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def test_keras_cv_has_a_convolution_less_in_its_heads():
    assert len(keras_cv_detector().classification_head.conv_layers) == 3
    assert len(keras_hub_detector().classification_head.conv_layers) == 4


def test_keras_hub_puts_the_prior_on_the_boxes():
    model = keras_hub_detector()
    box = model.box_head.prediction_layer.bias.numpy()
    classes = model.classification_head.prediction_layer.bias.numpy()
    np.testing.assert_allclose(np.abs(box), np.log(99), rtol=1e-6)
    assert (classes == 0).all()


@pytest.mark.parametrize(
    "library, deviation", [("keras_cv", 1 / 48), ("keras_hub", 0.05)]
)
def test_kernels_of_the_heads_start_larger(library, deviation):
    for layer in DETECTORS[library]().classification_head.conv_layers:
        assert np.std(layer.kernel) == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("use_p5, channels", [(True, 128), (False, 256)])
def test_keras_hub_makes_p6_from_c5_if_told_p5(use_p5, channels):
    pyramid = keras_hub_pyramid(use_p5).feature_pyramid
    p6 = pyramid.output_conv_layers["P6"]
    assert p6.kernel.shape == (3, 3, channels, 256)


@pytest.mark.parametrize("library", DETECTORS)
def test_p7_sees_p6_through_a_relu(library):
    if library == "keras_cv":
        layers = [
            layer
            for layer in keras_cv_detector().layers
            if type(layer).__name__ == "FeaturePyramid"
        ]
        pyramid = layers[0]
        p6, p7 = pyramid.conv_c6_3x3, pyramid.conv_c7_3x3
    else:
        pyramid = keras_hub_pyramid().feature_pyramid
        p6, p7 = (pyramid.output_conv_layers[level] for level in ("P6", "P7"))
    p6.kernel.assign(keras.ops.zeros_like(p6.kernel))
    p6.bias.assign(-keras.ops.ones_like(p6.bias))
    p7.kernel.assign(keras.ops.ones_like(p7.kernel))
    features = {
        level: np.ones((1, SIZE // 2**i, SIZE // 2**i, channels), "float32")
        for i, (level, channels) in enumerate(
            [("P3", 64), ("P4", 128), ("P5", 128)], start=3
        )
    }
    outputs = pyramid(features)
    p7 = outputs["P7"] if isinstance(outputs, dict) else outputs[-1]
    assert (np.asarray(p7) == 0).all()  # Without: -1 at least 1024 times.


@pytest.mark.parametrize(
    "box, learnt",
    [([16, 16, 48, 48], True), ([2, 30, 62, 34], False)],  # 15 times as wide.
)
@pytest.mark.parametrize("library", DETECTORS)
def test_an_object_that_fits_no_anchor_is_not_learnt(library, box, learnt):
    model = DETECTORS[library]()
    images = np.zeros((1, SIZE, SIZE, 3), "float32")
    boxes, classes = np.array([[box]], "float32"), np.array([[1.0]])
    if library == "keras_cv":
        targets = {"boxes": boxes, "classes": classes}
        _, labels = model.label_encoder(images, targets)
    else:
        _, labels = model.label_encoder(
            images=images, gt_boxes=boxes, gt_classes=classes
        )
    assert (np.asarray(labels) == 1).any() == learnt


def decode(library, boxes, scores, threshold=0.05):
    """Number of boxes that are left."""
    decoder = DECODERS[library](
        bounding_box_format="xyxy",
        from_logits=False,
        confidence_threshold=threshold,
    )
    arrays = np.array([boxes], "float32"), np.array([scores], "float32")
    return int(np.asarray(decoder(*arrays)["num_detections"])[0])


@pytest.mark.parametrize("library", DECODERS)
def test_suppression_knows_no_classes(library):
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert decode(library, boxes, [[0.9, 0.1], [0.1, 0.8]]) == 1


@pytest.mark.parametrize("library", DECODERS)
def test_suppression_at_exactly_the_threshold(library):
    # Boxes of IoU 0.5, where torchvision keeps both.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert decode(library, boxes, [[0.9], [0.8]]) == 1


@pytest.mark.parametrize("library", DECODERS)
def test_boxes_of_no_positive_coordinate_are_dropped(library):
    boxes = [[20, 20, 30, 30], [-10, -10, -2, -2]]
    assert decode(library, boxes, [[0.9], [0.8]]) == 1
    boxes = [[20, 20, 30, 30], [-10, -10, 2, 2]]
    assert decode(library, boxes, [[0.9], [0.8]]) == 2


@pytest.mark.parametrize("library", DETECTORS)
def test_least_score_is_one_half(library):
    decoder = DETECTORS[library]().prediction_decoder
    assert decoder.confidence_threshold == 0.5
    assert decoder.iou_threshold == 0.5


def centers(anchors):
    anchors = np.asarray(anchors)
    return (anchors[:, :2] + anchors[:, 2:]) / 2


def test_anchors_of_keras_hub_are_off_at_odd_sizes():
    generator = keras_hub_detector().anchor_generator
    levels = generator(np.zeros((1, 800, 1280, 3), "float32"))
    # Seven rows at a stride of 128 end at 768.
    rows = centers(levels["P7"])[:, 1]
    assert rows.max() == 6 * (800 // 7) == 684
    # At multiples of 128 they are right.
    levels = generator(np.zeros((1, 768, 1280, 3), "float32"))
    assert centers(levels["P7"])[:, 1].max() == 640


def test_anchors_of_keras_cv_are_half_a_stride_further():
    generator = keras_cv_detector().anchor_generator
    levels = generator(image_shape=(256, 256, 3))
    anchors = np.asarray(list(levels.values())[0])
    # Of the middle, where none is clipped.
    middle = centers(anchors)[len(anchors) // 2 + 9 * 16]
    np.testing.assert_allclose(middle % 8, 4, atol=1e-3)


def test_decoding_has_no_clamp():
    boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors=np.array([[0, 0, 8, 8]], "float32"),
        boxes_delta=np.array([[[0, 0, 100, 0]]], "float32"),
        anchor_format="xyxy",
        box_format="xyxy",
        encoded_format="center_xywh",
    )
    assert not np.isfinite(np.asarray(boxes)).all()


@pytest.mark.large
@pytest.mark.parametrize("library", DETECTORS)
def test_predict_fails_under_a_mixed_policy(mixed_bfloat16, library):
    model = DETECTORS[library]()
    images = np.zeros((1, SIZE, SIZE, 3), "float32")
    with pytest.raises(TypeError, match="bfloat16"):
        model.predict(images, batch_size=1, verbose=0)
