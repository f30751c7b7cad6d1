"""Batches that the devices do not divide."""

import json

import keras
import numpy as np
import pytest

CODE = """
import json

import keras
import numpy as np
import tensorflow as tf

from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.losses import global_count
from keras_epsanet.distribution import predict
from keras_epsanet.training import make_strategy

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    3 * [tf.config.LogicalDeviceConfiguration()],
)


class Brightness(Detector):
    "Its loss is the mean brightness of the images; it finds one box."

    LOSSES = ("brightness_loss",)

    def compute_losses(self, images, targets, outputs):
        number = global_count(keras.ops.ones(keras.ops.shape(images)[:1]))
        values = keras.ops.sum(outputs["x"], axis=(1, 2, 3))
        return {"brightness_loss": keras.ops.sum(values) / number}

    def decode(self, images, outputs, image_size):
        scores = keras.ops.max(outputs["x"], axis=(1, 2, 3))[:, None]
        boxes = keras.ops.zeros((keras.ops.shape(images)[0], 1, 4))
        return self.suppress(boxes, scores, keras.ops.zeros_like(scores))


images = np.random.default_rng(0).uniform(0.1, 0.9, (4, 1, 1, 1))
images = images.astype("float32")
targets = {"boxes": np.zeros((4, 1, 4)), "labels": np.zeros((4, 1))}
results = {"images": images.ravel().tolist()}
for number in (1, 3):
    strategy = make_strategy([f"CPU:{i}" for i in range(number)])
    with strategy.scope():
        image = keras.Input((1, 1, 1))
        x = keras.layers.Rescaling(1.0)(image)
        backbone = keras.Model(image, x)
        model = Brightness(backbone, 1, {"x": x}, max_detections=1)
        model.compile("sgd")
    # Of four images three devices get two, two and none.
    batch = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    results[f"losses/{number}"] = model.evaluate(batch, verbose=0)
    found = predict(model, [images[:2], images[2:]])
    results[f"found/{number}"] = found["confidence"].ravel().tolist()
print(json.dumps(results))
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="devices of TensorFlow"
)
def test_detectors_count_every_image_once_on_three_devices(run_python):
    results = json.loads(run_python(CODE).splitlines()[-1])
    images = results["images"]
    for number in (1, 3):
        np.testing.assert_allclose(
            results[f"losses/{number}"], 2 * [np.mean(images)], rtol=1e-6
        )
        np.testing.assert_allclose(results[f"found/{number}"], images)
