"""Whether a saved model says the same however it is run."""

import contextlib
import importlib.util
import logging
import os
import tempfile
import warnings

import keras
import numpy as np


def check_agreement(path, images, tolerance=1e-4):
    """Runs a saved model in every way and compares the predictions.

    `predict`, a call, and on the TensorFlow backend an exported SavedModel,
    LiteRT, and ONNX if tf2onnx and onnxruntime are installed.

    Args:
        path: Path of a `.keras` file with one input and one output.
        images: Array `(N, H, W, C)`.
        tolerance: Float, the largest difference from `predict`.

    Returns:
        List of strings, the ways that agree with `predict`.

    Raises:
        RuntimeError: If one does not agree, or a call changes a weight.
    """
    with _full_precision():
        return _check_agreement(path, images, tolerance)


@contextlib.contextmanager
def _full_precision():
    """Without TF32 on GPUs, which LiteRT on the CPU does not have."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def _check_agreement(path, images, tolerance):
    model = keras.saving.load_model(path, compile=False)
    images = np.asarray(images, "float32")
    expected = model.predict(images, verbose=0)
    before = model.get_weights()
    _compare(path, "model(x)", model(images), expected, tolerance)
    for weight, old in zip(model.weights, before, strict=True):
        if not np.array_equal(keras.ops.convert_to_numpy(weight), old):
            raise RuntimeError(
                f"Calling the model of {path} changes its weight {weight.path}"
            )
    agreeing = ["model(x)"]
    with tempfile.TemporaryDirectory() as folder:
        for name, run in _exports().items():
            found = run(model, folder, images)
            _compare(path, name, found, expected, tolerance)
            agreeing.append(name)
    return agreeing


def _compare(path, name, found, expected, tolerance):
    found = keras.ops.convert_to_numpy(found)
    difference = np.abs(found - expected).max()
    # Not true of what is no number, either.
    if not difference <= tolerance:
        raise RuntimeError(
            f"{name} of {path} differs from `predict` by {difference:.2g}"
        )


def _exports():
    if keras.backend.backend() != "tensorflow":
        return {}
    exports = {"SavedModel": _run_saved_model, "LiteRT": _run_litert}
    needed = ("tf2onnx", "onnxruntime")
    if all(map(importlib.util.find_spec, needed)):
        exports["ONNX"] = _run_onnx
    return exports


def _run_saved_model(model, folder, images):
    import tensorflow as tf

    model.export(folder, format="tf_saved_model", verbose=False)
    # In a variable, for what it serves goes with it.
    loaded = tf.saved_model.load(folder)
    return loaded.serve(images)


def _run_litert(model, folder, images):
    import tensorflow as tf

    # As `export(format="litert")`, which would trace the model once more.
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    with warnings.catch_warnings():
        # The package that it names is no part of TensorFlow.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is depr")
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
    (image,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(image["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], images)
    interpreter.invoke()
    (output,) = interpreter.get_output_details()
    return interpreter.get_tensor(output["index"])


def _run_onnx(model, folder, images):
    import onnxruntime

    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    path = os.path.join(folder, "model.onnx")
    try:
        with warnings.catch_warnings():
            # Of NumPy, about how Keras looks for a name.
            warnings.filterwarnings("ignore", category=FutureWarning)
            model.export(path, format="onnx", verbose=False)
    finally:
        logger.setLevel(level)
    session = onnxruntime.InferenceSession(path)
    (image,) = session.get_inputs()
    (found,) = session.run(None, {image.name: images})
    return found
