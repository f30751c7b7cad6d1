"""What an exported detector finds in its own runtime, and whether it is so."""

import keras
import numpy as np

from keras_epsanet.data import scenes
from keras_epsanet.data.coco.transforms import PAD_TO, padded_size
from keras_epsanet.models.preprocessing import preprocess_input

# Rounding may exchange objects of nearly the same score.
_SHARE = 0.95
_SCORE, _PIXELS = 1e-3, 0.5


def input_size(detector, side=None):
    """The size of images that an exported detector takes.

    Args:
        detector: `Detector`.
        side: Integer, height and width in pixels; `None` for those of a wide
            picture that `detect` has resized and padded.

    Returns:
        Pair of integers, height and width, multiples of 32.
    """
    own = detector.input_shape[1:3]
    wanted = detector.image_size if side is None else (side, side)
    return padded_size([a or b for a, b in zip(own, wanted)], PAD_TO)


def make_images(size, number):
    """Makes composed scenes, as a detector takes them.

    Args:
        size: Pair of integers, height and width.
        number: Integer.

    Returns:
        Array float32 `(number, height, width, 3)`.
    """
    images = [
        scenes.compose("val", i, image_size=size)[0] for i in range(number)
    ]
    images = np.stack(images).astype("float32")
    return keras.ops.convert_to_numpy(preprocess_input(images))


def run_exported(path, format, images):
    """Predicts with what was exported.

    Args:
        path: Path of the folder or of the file.
        format: `"tf_saved_model"`, `"onnx"` or `"litert"`.
        images: Array `(N, height, width, 3)`.

    Returns:
        Dictionary of arrays, as of `predict`.
    """
    import tensorflow as tf

    if format == "tf_saved_model":
        loaded = tf.saved_model.load(path)
        return {k: v.numpy() for k, v in loaded.serve(images).items()}
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {"images": images})))
    return tf.lite.Interpreter(path).get_signature_runner()(images=images)


def check_equal(found, expected, name):
    """Raises if an exported detector finds something else.

    Args:
        found, expected: Dictionaries of arrays, as of `predict`.
        name: String, what was exported.

    Returns:
        Integer, the number of objects that both have found.

    Raises:
        RuntimeError: If names, numbers, scores or boxes differ by more than
            rounding.
    """
    if set(found) != set(expected):
        raise RuntimeError(
            f"{name} returns {', '.join(sorted(found))}, not "
            f"{', '.join(sorted(expected))}"
        )
    numbers = np.ravel(expected["num_detections"])
    if not np.array_equal(np.ravel(found["num_detections"]), numbers):
        raise RuntimeError(
            f"{name} finds {np.ravel(found['num_detections'])} objects, not "
            f"{numbers} as Keras"
        )
    slots = np.arange(expected["labels"].shape[1]) < numbers[:, None]
    scores = np.abs(found["confidence"] - expected["confidence"])[slots]
    boxes = np.abs(found["boxes"] - expected["boxes"]).max(-1)[slots]
    same = (boxes <= _PIXELS) & (found["labels"] == expected["labels"])[slots]
    # Not `>`, which is false for NaN.
    if slots.any() and not (scores.max() <= _SCORE and same.mean() >= _SHARE):
        raise RuntimeError(
            f"{name} differs from Keras by {scores.max():.1e} in the scores, "
            f"and in {(~same).sum()} of {same.size} objects"
        )
    return int(numbers.sum())
