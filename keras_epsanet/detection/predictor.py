"""A detector as one network from images to detections, for exports."""

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
    detector.portable = format == "onnx"
    try:
        Predictor(detector).export(
            filepath,
            format=format,
            verbose=verbose,
            input_signature=signature,
            **kwargs,
        )
    finally:
        detector.portable = False


def make_signature(detector, format, wanted=None):
    """The signature of an export, or an error before work starts.

    Args:
        detector: `Detector`.
        format: `"tf_saved_model"` or `"onnx"`.
        wanted: As in `keras.Model.export`, or `None` for any number of
            images of the size that the backbone is for.

    Returns:
        List of a `keras.InputSpec`.

    Raises:
        ValueError: If the backend or the format cannot hold the detector, or
            ONNX lacks the size of the images.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Detectors are exported on the TensorFlow backend, which loads "
            "what another has saved. "
            f"Received: backend {keras.backend.backend()}"
        )
    if format not in ("tf_saved_model", "onnx"):
        raise ValueError(
            '`format` must be "tf_saved_model" or "onnx" for a detector. '
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
    if format == "onnx" and None in shapes[0][1:3]:
        raise ValueError(
            "ONNX needs the height and width of the images: "
            'input_signature=[keras.InputSpec("float32", (None, 800, 1344, '
            f"3))]. Received: {shapes[0]}"
        )
    if format == "onnx" and not getattr(detector, "sampling_ratio", 1):
        raise ValueError(
            "ONNX cannot hold a detector whose number of samples differs from "
            f"box to box. Received: sampling_ratio={detector.sampling_ratio}"
        )
    return [keras.InputSpec(specs[0].dtype, shapes[0], name="images")]
