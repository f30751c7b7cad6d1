"""EPSANet under the libraries' own models, for tests in several processes."""

import keras
import keras_cv
import keras_hub
import numpy as np

import keras_epsanet

TINY = {
    "stackwise_num_blocks": (1, 1, 1, 1),
    "stackwise_num_filters": (16, 16, 32, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}
SIZE = 64
CLASSES = 3
# Two equal images, so that each of two replicas gets the same loss.
IMAGES = np.repeat(
    np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3)), 2, 0
).astype("float32")
BOXES = np.array([[[4, 4, 30, 30], [30, 20, 60, 62], [-1] * 4]] * 2, "float32")
LABELS = np.array([[0, 2, -1]] * 2)


def keras_cv_retinanet(backbone):
    model = keras_cv.models.RetinaNet(
        backbone, num_classes=CLASSES, bounding_box_format="xyxy"
    )
    model.compile(
        optimizer=keras.optimizers.SGD(1e-4),
        classification_loss="focal",
        box_loss="smoothl1",
    )
    return model, {"boxes": BOXES, "classes": LABELS}


def keras_hub_retinanet(backbone):
    pyramid = keras_hub.models.RetinaNetBackbone(
        backbone,
        min_level=3,
        max_level=7,
        use_p5=True,
        image_shape=(SIZE, SIZE, 3),
    )
    model = keras_hub.models.RetinaNetObjectDetector(
        pyramid, num_classes=CLASSES, bounding_box_format="xyxy"
    )
    # It puts this bias on the boxes instead.
    bias = model.classification_head.prediction_layer.bias
    bias.assign(keras.ops.full(bias.shape, -np.log(99)))
    bias = model.box_head.prediction_layer.bias
    bias.assign(keras.ops.zeros(bias.shape))
    model.compile(keras.optimizers.SGD(1e-4))
    return model, {"boxes": BOXES, "labels": LABELS}


def keras_cv_deeplab(backbone):
    model = keras_cv.models.DeepLabV3Plus(
        backbone=backbone, num_classes=CLASSES
    )
    model.compile(keras.optimizers.SGD(1e-1), "sparse_categorical_crossentropy")
    return model, np.ones((2, SIZE, SIZE, 1), "int32")


MODELS = {
    "keras_cv_retinanet": keras_cv_retinanet,
    "keras_hub_retinanet": keras_hub_retinanet,
    "keras_cv_deeplab": keras_cv_deeplab,
}


def build(name, norm_eval=True, freeze_stages=1, **kwargs):
    """Returns a compiled model, what it should learn, and its backbone."""
    backbone = keras_epsanet.EPSANetBackbone(
        **TINY,
        norm_eval=norm_eval,
        freeze_stages=freeze_stages,
        image_shape=(SIZE, SIZE, 3),
        **kwargs,
    )
    return *MODELS[name](backbone), backbone


def predict(model):
    """Dictionary of arrays: what `predict` returns, and before decoding."""
    decoded = model.predict(IMAGES, batch_size=2, verbose=0)
    raw = model(IMAGES, training=False)
    outputs = {}
    for prefix, values in (("", decoded), ("raw_", raw)):
        if not isinstance(values, dict):
            values = {"masks": values}
        for key, value in values.items():
            outputs[prefix + key] = keras.ops.convert_to_numpy(value)
    return outputs
