"""Exports EPSANet-50 Small and ResNet-50 and runs both by other runtimes.

    python examples/export.py

writes each network as SavedModel, for ONNX Runtime, OpenVINO and LiteRT, the
last also quantised to int8 with images of Fashion-MNIST for calibration, into
`--output`, and prints a line for each: how long EPSANet takes relative to
ResNet-50 in the same runtime and to itself in Keras, the size of its file and
how far its outputs are from those of Keras, in the largest of them. Needs
`pip install keras-epsanet[export]`.

Without `--weights` they are random; the differences of int8 mean something
for trained ones only. What was measured stands in docs/deployment.md.

ONNX files have a fixed batch: ONNX Runtime fuses less where it is unknown.
"""

import argparse
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet


def main():
    args = parse_args()
    keras.utils.set_random_seed(0)
    shape = (args.image_size, args.image_size, 3)
    epsanet = keras_epsanet.EPSANet50Small(
        weights=args.weights, classes=args.classes, input_shape=shape
    )
    resnet = keras.applications.ResNet50(
        weights=None, classes=args.classes, input_shape=shape
    )
    # Without BatchNorms, which some runtimes cannot fold away by themselves.
    models = [keras_epsanet.fuse(model) for model in (epsanet, resnet)]
    images = calibration_images(args.image_size)[: args.batch_size]
    expected = epsanet.predict(images, verbose=0)

    def keras_run():
        return models[0].predict_on_batch(images)

    print(f"batch {args.batch_size}, {args.image_size}×{args.image_size}")
    print("                       time relative to       size  difference")
    print("                       ResNet-50   Keras")
    for name, (export, load) in RUNTIMES.items():
        paths = [
            os.path.join(args.output, f"{network}_{name.replace(' ', '_')}")
            for network in ("epsanet50_small", "resnet50")
        ]
        try:
            runs = []
            for model, path in zip(models, paths):
                path = export(model, path, images.shape)
                runs.append(load(path, images))
                if model is models[0]:
                    size = size_of(path) / 1e6
        except ImportError as error:
            print(f"{name:22} needs {error.name}")
            continue
        difference = np.abs(runs[0]() - expected).max() / expected.max()
        times = measure([*runs, keras_run], args.repeats)
        print(
            f"{name:22} {np.median(times[0] / times[1]):9.2f} "
            f"{np.median(times[0] / times[2]):7.2f} {size:7.1f} MB  "
            f"{difference:.1e}",
            flush=True,
        )


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", metavar="FOLDER", default="runs/export")
    return parser.parse_args()


def calibration_images(image_size, number=32):
    """Normalised images of Fashion-MNIST, `(number, size, size, 3)`."""
    dataset = keras_epsanet.data.fashion_mnist("train").batch(number)
    images, _ = next(iter(dataset))
    images = tf.image.grayscale_to_rgb(images)
    images = tf.image.resize(images, (image_size, image_size))
    return keras_epsanet.preprocess_input(images).numpy()


def size_of(path):
    """Bytes of a file and of those that belong to it, or of a folder."""
    if os.path.isdir(path):
        files = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(path)
            for name in names
        ]
    else:
        files = [path, path.replace(".xml", ".bin")]
    return sum(map(os.path.getsize, set(files)))


def measure(runs, repeats):
    """Returns the seconds of functions that run in turns, a row for each."""
    seconds = np.empty((len(runs), repeats))
    for run in runs:
        run()
    for i in range(repeats):
        for j, run in enumerate(runs):
            start = time.perf_counter()
            run()
            seconds[j, i] = time.perf_counter() - start
    return seconds


def export_saved_model(model, path, shape):
    model.export(path, format="tf_saved_model", verbose=False)
    return path


def load_saved_model(path, images):
    loaded = tf.saved_model.load(path)
    images = tf.constant(images)
    return lambda: loaded.serve(images).numpy()


def export_onnx(model, path, shape):
    path += ".onnx"
    model.predict(np.zeros(shape), verbose=0)
    model.export(
        path,
        format="onnx",
        verbose=False,
        input_signature=[keras.InputSpec(shape=shape, dtype="float32")],
    )
    return path


def load_onnx(path, images):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(path, options)
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)[0]


def export_openvino(model, path, shape):
    import openvino

    onnx = export_onnx(model, path, shape)
    openvino.save_model(
        openvino.convert_model(onnx), path + ".xml", compress_to_fp16=False
    )
    return path + ".xml"


def load_openvino(precision):
    def load(path, images):
        import openvino

        compiled = openvino.Core().compile_model(
            path, "CPU", {"INFERENCE_PRECISION_HINT": precision}
        )
        return lambda: compiled(images)[0]

    return load


def export_litert(int8):
    def export(model, path, shape):
        folder = export_saved_model(model, path, shape)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            images = calibration_images(shape[1])
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [image[None]] for image in images
            )
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            ]
        path += ".tflite"
        with open(f"{path}.tmp", "wb") as file:
            file.write(converter.convert())
        os.replace(f"{path}.tmp", path)
        return path

    return export


def load_litert(path, images):
    interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
    image, = interpreter.get_input_details()
    output, = interpreter.get_output_details()
    interpreter.resize_tensor_input(image["index"], images.shape)
    interpreter.allocate_tensors()

    def run():
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return run


RUNTIMES = {
    "SavedModel": (export_saved_model, load_saved_model),
    "ONNX Runtime": (export_onnx, load_onnx),
    "OpenVINO": (export_openvino, load_openvino("f32")),
    "OpenVINO bf16": (export_openvino, load_openvino("bf16")),
    "LiteRT": (export_litert(int8=False), load_litert),
    "LiteRT int8": (export_litert(int8=True), load_litert),
}


if __name__ == "__main__":
    main()
