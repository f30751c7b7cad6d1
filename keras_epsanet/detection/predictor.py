"""A detector as one network from images to detections, for exports."""

import json
import os
import tempfile
import zipfile

import keras

from keras_epsanet.detection.batches import image_sizes


class Predictor(keras.Model):
    """Calls a detector as `predict` does, decoding and suppression included.

    Args:
        detector: `Detector`.

    Input shape:
        `(N, H, W, 3)`, as the detector's.

    Output shape:
        Dictionary of `predict`.
    """

    def __init__(self, detector):
        super().__init__(name=detector.name)
        self.detector = detector
        self.built = True

    def call(self, images):
        outputs = self.detector(images, training=False)
        return self.detector.predictions(
            images, outputs, image_sizes(images, {})
        )


def export(detector, filepath, format, verbose, input_signature, **kwargs):
    """Exports a detector with its decoding and suppression.

    Args:
        detector: `Detector`.
        filepath, format, verbose, input_signature, **kwargs: As in
            `Detector.export`.

    Raises:
        ValueError: As of `make_signature`.
    """
    signature = make_signature(detector, format, input_signature)
    options = {"verbose": verbose, "input_signature": signature, **kwargs}
    # Of TensorFlow's own operations neither has that of ROIAlign.
    detector.portable = format in ("onnx", "litert")
    try:
        if format == "litert":
            write_litert(Predictor(detector), filepath, **options)
        else:
            Predictor(detector).export(filepath, format=format, **options)
    finally:
        detector.portable = False
    if detector.class_names is not None:
        attach_class_names(filepath, format, detector.class_names)


def write_litert(predictor, filepath, **options):
    """Writes a file for LiteRT, by way of a SavedModel.

    Args:
        predictor: `Predictor`.
        filepath: Path of the file.
        **options: As in `keras.Model.export`.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        predictor.export(folder, format="tf_saved_model", **options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        contents = converter.convert()
    with open(filepath, "wb") as file:
        file.write(contents)


def attach_class_names(filepath, format, names):
    """Puts the names of the classes into what was exported.

    They are JSON, a list by label: in a SavedModel the file
    `assets.extra/class_names.json`, in an ONNX file the metadata
    `class_names`, in a file for LiteRT `class_names.json` of the archive that
    such a file ends with, as `zipfile` reads it.

    Args:
        filepath: Path of the folder or of the file.
        format: `"tf_saved_model"`, `"onnx"` or `"litert"`.
        names: Strings.
    """
    text = json.dumps(list(names))
    if format == "tf_saved_model":
        folder = os.path.join(filepath, "assets.extra")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "class_names.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    elif format == "onnx":
        import onnx

        model = onnx.load(filepath)
        onnx.helper.set_model_props(model, {"class_names": text})
        onnx.save(model, filepath)
    else:
        with zipfile.ZipFile(filepath, "a") as archive:
            archive.writestr("class_names.json", text)


def make_signature(detector, format, wanted=None):
    """The signature of an export, or an error before work starts.

    Args:
        detector: `Detector`.
        format: `"tf_saved_model"`, `"onnx"` or `"litert"`.
        wanted: As in `keras.Model.export`, or `None` for any number of
            images of the size that the backbone is for.

    Returns:
        List of a `keras.InputSpec`.

    Raises:
        ValueError: If the backend or the format cannot hold the detector, or
            ONNX or LiteRT lack the size of the images.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Detectors are exported on the TensorFlow backend, which loads "
            "what another has saved. "
            f"Received: backend {keras.backend.backend()}"
        )
    if format not in ("tf_saved_model", "onnx", "litert"):
        raise ValueError(
            '`format` must be "tf_saved_model", "onnx" or "litert" for a '
            "detector. "
            f"Received: format={format}"
        )
    if wanted is None:
        wanted = keras.InputSpec("float32", detector.input_shape)
    specs = keras.tree.flatten(wanted)
    shapes = [tuple(spec.shape) for spec in specs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise ValueError(
            "`input_signature` must be one `keras.InputSpec` of images "
            f"(N, H, W, 3). Received: input_signature={wanted}"
        )
    if format == "litert" and shapes[0][0] is None:
        shapes[0] = (1, *shapes[0][1:])
    if format != "tf_saved_model" and None in shapes[0][1:3]:
        raise ValueError(
            "ONNX and LiteRT need the height and width of the images: "
            'input_signature=[keras.InputSpec("float32", (None, 800, 1344, '
            f"3))]. Received: {shapes[0]}"
        )
    fixed = format == "tf_saved_model" or getattr(detector, "sampling_ratio", 1)
    if not fixed:
        raise ValueError(
            "ONNX and LiteRT cannot hold a detector whose number of samples "
            "differs from box to box. "
            f"Received: sampling_ratio={detector.sampling_ratio}"
        )
    return [keras.InputSpec(specs[0].dtype, shapes[0], name="images")]
