"""Exports for images of any size compute what Keras does, in any size."""

import keras
import numpy as np
import pytest

from keras_epsanet.layers import GroupedConv2D

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's forms", allow_module_level=True)

import tensorflow as tf

# Of 12 and 15 pixels some tiles are cut off.
SIZES = [(9, 9), (12, 15), (2, 3), (1, 1)]


@pytest.fixture(
    params=[
        {"filters": 8, "kernel_size": 1, "strides": 2},
        {"filters": 8, "kernel_size": 3, "strides": 2},
        {"filters": 4, "kernel_size": 5, "groups": 4},  # Of tiles.
        {"filters": 8, "kernel_size": 5, "groups": 2, "strides": 2},
    ],
    ids=["pointwise", "strided", "tiles", "groups"],
)
def model(request):
    image = keras.Input((None, None, 16))
    model = keras.Model(image, GroupedConv2D(**request.param)(image))
    model.predict(images_of((9, 9)), verbose=0)  # Before it is exported.
    return model


def images_of(size):
    return np.random.default_rng(0).normal(size=(2, *size, 16)).astype("f")


def check(model, run):
    for size in SIZES:
        expected = model.predict(images_of(size), verbose=0)
        np.testing.assert_allclose(
            run(images_of(size)), expected, atol=1e-5, err_msg=size
        )


def test_onnx(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    check(model, lambda images: session.run(None, {name: images})[0])


def test_litert(model, tmp_path):
    path = str(tmp_path / "model.tflite")
    model.export(path, format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(path)
    (image,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()

    def run(images):
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    check(model, run)
