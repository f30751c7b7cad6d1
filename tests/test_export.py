"""Exports from the TensorFlow backend, each run by its own runtime."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet50Large, EPSANet50Small
from keras_epsanet.layers import PSA

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported from TensorFlow", allow_module_level=True)

SIZE = 64


@pytest.fixture(
    scope="module",
    params=[
        EPSANet50Small,
        pytest.param(EPSANet50Large, marks=pytest.mark.large),
    ],
)
def exported(request):
    model = request.param(input_shape=(SIZE, SIZE, 3), classes=10)
    # Statistics unlike those of a fresh model.
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith("_bn"):
            n = layer.moving_mean.shape[0]
            layer.moving_mean.assign(random.normal(0, 0.1, n))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, n))
    x = random.standard_normal((2, SIZE, SIZE, 3)).astype("float32")
    return model, x, model.predict(x, verbose=0)


def test_saved_model(exported, tmp_path):
    import tensorflow as tf

    model, x, expected = exported
    model.export(tmp_path / "model", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    y = loaded.serve(x).numpy()
    np.testing.assert_allclose(y, expected, atol=1e-4 * expected.max())


@pytest.mark.large
def test_onnx(exported, tmp_path):
    import onnxruntime

    model, x, expected = exported
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(y, expected, atol=1e-4 * expected.max())


@pytest.mark.large
def test_litert(exported, tmp_path):
    import tensorflow as tf

    model, x, expected = exported
    path = str(tmp_path / "model.tflite")
    model.export(path, format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(path)
    (image,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(image["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], x)
    interpreter.invoke()
    (output,) = interpreter.get_output_details()
    y = interpreter.get_tensor(output["index"])
    np.testing.assert_allclose(y, expected, atol=1e-4 * expected.max())


def test_litert_int8_attends_as_it_likes(tmp_path):
    # LiteRT cannot divide by the int8 0, which stands for some number.
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 64), batch_size=1)
    psa = PSA(64)
    _, attention = psa(inputs, return_attention=True)
    model = keras.Model(inputs, attention)
    for weight in psa.se.weights:
        weight.assign(2 * keras.random.normal(weight.shape))
    x = np.random.default_rng(0).standard_normal((100, 1, 8, 8, 64))
    x = x.astype("float32")
    expected = np.stack([model(each) for each in x])
    assert np.ptp(expected) > 0.1  # From one scale to another.
    model.export(tmp_path / "model", format="tf_saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "model")
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([each] for each in x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    for each, attention in zip(x, expected):
        interpreter.set_tensor(image["index"], each)
        interpreter.invoke()
        found = interpreter.get_tensor(output["index"])
        np.testing.assert_allclose(found, attention, atol=0.05)
