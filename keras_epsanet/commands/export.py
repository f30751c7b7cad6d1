"""Exports a trained model for other programs, and checks what was exported."""

import argparse
import os
import tempfile

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import storage
from keras_epsanet.atomic import whole
from keras_epsanet.commands.options import MODEL, positive
from keras_epsanet.commands.reporting import (
    check_installed,
    one_line_errors,
    usable,
)
from keras_epsanet.commands.trained_models import model_file
from keras_epsanet.detection import exported
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.trained_detectors import load_trained
from keras_epsanet.hub.published import (
    WRITERS,
    open_published,
    published_as,
)
from keras_epsanet.ops.processor import vector_lanes
from keras_epsanet.weights.public_detectors import family_of

IMAGE_SIZE = 224

# The packages that write a format and run it.
NEEDED = {
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "preset": ("keras_hub",),
    "timm": ("safetensors",),
}
ENDINGS = {
    "saved_model": "_saved_model",
    "onnx": ".onnx",
    "litert": ".tflite",
    "litert_int8": "_int8.tflite",
    "preset": "_preset",
    "timm": "_timm",
}


def main(arguments=None, program="export"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the model cannot be used, or what was
            exported does not predict as it does.
    """
    args = parse(arguments, program)
    with one_line_errors(program):
        for name in NEEDED.keys() & {*args.format}:
            check_installed(NEEDED[name], f"An export as {name}")
        with usable(program, args.model):
            args.model = model_file(args.model)
            if family_of(args.model):
                model = load_trained(args.model)
            else:
                model = keras.saving.load_model(args.model, compile=False)
        if isinstance(model, Detector):
            export_detector(model, args)
            return
        args.image_size = args.image_size or IMAGE_SIZE
        images = make_images(model, args)
        for name in args.format:
            print(f"{export(model, images, name, args)} is as Keras predicts")


def parse(arguments=None, program="export"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description=__doc__,
        usage="%(prog)s [options]",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        default=MODEL,
        help="trained classifier or detector, the folder of its training, "
        f"or the name of a public detector (default: {MODEL})",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=ENDINGS,
        default=["saved_model"],
        metavar="FORMAT",
        help=f"one or more of {', '.join(ENDINGS)} (default: saved_model); "
        "onnx, preset (of KerasHub) and timm need packages of their own",
    )
    _add_how(parser)
    args = parser.parse_args(arguments)
    published = [name for name in args.format if name in WRITERS]
    if args.fuse and published:
        parser.error(f"--fuse is not for {' and '.join(published)}")
    return args


def _add_how(parser):
    """Adds the options of how and where it is exported."""
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="folder for what is exported (default: that of the model)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive("batch_size"),
        metavar="N",
        help="images that the exported model takes at a time (default: any "
        "number)",
    )
    parser.add_argument(
        "--image-size",
        type=positive("image_size"),
        metavar="N",
        help="side of the images in pixels, of a model for any, with which "
        "it is compared; LiteRT takes this size alone, and so does ONNX of a "
        f"detector (default: {IMAGE_SIZE}, of a detector that of its wide "
        "pictures)",
    )
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="fold every BatchNorm into the convolution before it, and put "
        "_fused into the names of the files",
    )


def export_detector(detector, args):
    """Exports a detector with its decoding, and compares what it finds."""
    if args.fuse or {"litert_int8", *WRITERS} & {*args.format}:
        raise ValueError(
            "Detectors are exported in float32 as they are. "
            f"Received: fuse={args.fuse}, format={' '.join(args.format)}"
        )
    if getattr(detector, "sampling_ratio", 1) == 0 and {*args.format} != {
        "saved_model"
    }:
        print("With a fixed number of samples: sampling_ratio=2 instead of 0")
        detector.sampling_ratio = 2
    size = exported.input_size(detector, args.image_size)
    images = exported.make_images(size, args.batch_size or 1)
    expected = detector.predict(images, verbose=0)
    for name in args.format:
        form = "tf_saved_model" if name == "saved_model" else name
        sides = detector.input_shape[1:3] if name == "saved_model" else size
        spec = keras.InputSpec("float32", (args.batch_size, *sides, 3))
        path = path_of(name, args)
        with whole(path, replace_folder=True) as temporary:
            detector.export(temporary, form, False, [spec])
            found = exported.run_exported(temporary, form, images)
            number = exported.check_equal(found, expected, name)
        print(f"{path} finds what Keras finds: {number} objects in a scene")


def make_images(model, args):
    """Random and embedded images, `(16, height, width, 3)`, float32."""
    import tensorflow as tf

    size = [side or args.image_size for side in model.input_shape[1:3]]
    random = np.random.default_rng(0).uniform(0, 255, (8, *size, 3))
    embedded = [x for x, _ in keras_epsanet.data.fashion_mnist("test").take(8)]
    embedded = tf.image.grayscale_to_rgb(tf.stack(embedded))
    images = np.concatenate([random, tf.image.resize(embedded, size)])
    images = images.astype("float32")
    if isinstance(model.layers[-1], keras_epsanet.layers.ClassNames):
        return images  # It normalizes them itself.
    return np.asarray(keras_epsanet.preprocess_input(images))


def export(model, images, name, args):
    """Writes one format, if it is as the model, and returns its path."""
    if args.fuse:
        # ONNX Runtime's fast kernels take whole vectors of channels.
        channels = vector_lanes() if name == "onnx" else 8
        model = keras_epsanet.fuse(model, channels)
    path = path_of(name, args)
    # Batches, the last filled up with the first images.
    size = args.batch_size or 2
    places = np.arange(-(-len(images) // size) * size) % len(images)
    batches = images[places.reshape(-1, size)]
    expected = np.stack([model.predict(x, verbose=0) for x in batches])
    with _place(name, path) as temporary:
        write(model, batches, name, temporary, args.batch_size)
        run = load(temporary, name, batches.shape[1:], model)
        found = np.stack([run(x) for x in batches])
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        # Not `>`, which is false for NaN.
        if not difference <= (0.1 if name == "litert_int8" else 1e-4):
            raise RuntimeError(
                f"{name} differs from Keras by {difference:.1e} of the largest"
            )
    return path


def _place(name, path):
    """Context manager of the path to write to, before it appears."""
    if name not in WRITERS:
        return whole(path, replace_folder=True)
    # What is published gets a card and a history, which stay. In a storage,
    # where files cannot be replaced one by one, it must be new.
    return whole(path) if storage.is_remote(path) else published_as(name, path)


def path_of(name, args):
    """Where a format is written, in a folder that there is then."""
    folder = args.output or os.path.dirname(args.model) or "."
    storage.makedirs(folder, exist_ok=True)
    stem = os.path.splitext(os.path.basename(args.model))[0]
    # Beside the same model with its BatchNorms, not in its place.
    stem += "_fused" * args.fuse
    return os.path.join(folder, stem + ENDINGS[name])


def write(model, batches, name, path, size):
    """Writes one format, for batches of `size` or, if it is `None`, of any."""
    if name in WRITERS:
        WRITERS[name](model, path)
        return
    sides = model.input_shape[1:3]
    if name.startswith("litert"):
        sides = batches.shape[2:4]
    if name == "litert_int8":
        size = batches.shape[1]
    form = name if name in ("onnx", "litert") else "tf_saved_model"
    signature = [keras.InputSpec("float32", (size, *sides, 3))]
    options = {"verbose": False, "input_signature": signature}
    if name != "litert_int8":
        model.export(path, format=form, **options)
        return
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format=form, **options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in batches)
        kinds = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.target_spec.supported_ops = kinds
        with open(path, "wb") as file:
            file.write(converter.convert())


def load(path, name, shape, model):
    """Returns the function of the runtime from images to outputs."""
    if name in WRITERS:
        return open_published(path, name, model)
    import tensorflow as tf

    if name == "saved_model":
        loaded = tf.saved_model.load(path)
        return lambda images: loaded.serve(images).numpy()
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        key = session.get_inputs()[0].name
        return lambda images: session.run(None, {key: images})[0]
    interpreter = tf.lite.Interpreter(path)
    (image,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    interpreter.resize_tensor_input(image["index"], shape)
    interpreter.allocate_tensors()

    def run(images):
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return run
