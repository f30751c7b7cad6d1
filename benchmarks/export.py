"""Exports EPSANet-50 Small and ResNet-50 and runs both by other runtimes.

    python benchmarks/export.py

writes each network, without its BatchNorms, as SavedModel, for ONNX Runtime,
OpenVINO and LiteRT, the last also quantized to int8 with images of
Fashion-MNIST for calibration, into `--output`, and prints a line for each:
how long EPSANet takes relative to ResNet-50 in the same runtime and to itself
in Keras, the size of its file, and on Fashion-MNIST how far its outputs are
from those of Keras, in the largest of them, and how often the class is the
same. Needs `pip install ".[export]"`.

Without `--weights` they are random, and int8 is only worth its comparison for
trained ones. What was measured stands in docs/deployment.md. ONNX files have
a fixed batch: ONNX Runtime fuses less where it is unknown.
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
from keras_epsanet import atomic
from keras_epsanet.ops.processor import vector_lanes


def main():
    args = parse_args()
    keras.utils.set_random_seed(0)
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    epsanet = keras_epsanet.EPSANet50Small(
        weights=args.weights, classes=args.classes, input_shape=shape[1:]
    )
    resnet = keras.applications.ResNet50(
        weights=None, classes=args.classes, input_shape=shape[1:]
    )
    # Without BatchNorms, which some runtimes cannot fold away by themselves.
    models = [keras_epsanet.fuse(model) for model in (epsanet, resnet)]
    for_onnx = [
        keras_epsanet.fuse(model, vector_lanes()) for model in (epsanet, resnet)
    ]
    batches = load_batches("test", shape, 64)
    expected = np.stack([epsanet.predict_on_batch(x) for x in batches])

    print(f"batch {args.batch_size}, {args.image_size}×{args.image_size}")
    print("                 time relative to                 largest   same")
    print("                 ResNet-50  Keras       size   difference  class")
    for name, (export, load) in RUNTIMES.items():
        paths = [
            os.path.join(args.output, f"{network}_{name.replace(' ', '_')}")
            for network in ("epsanet50_small", "resnet50")
        ]
        try:
            exported = for_onnx if name == "ONNX Runtime" else models
            paths = [export(*pair, shape) for pair in zip(exported, paths)]
            runs = [load(path, shape) for path in paths]
        except ImportError as error:
            print(f"{name:16} needs {error.name}")
            continue
        outputs = np.stack([runs[0](x) for x in batches])
        difference = np.abs(outputs - expected).max() / expected.max()
        same = np.mean(outputs.argmax(-1) == expected.argmax(-1))
        times = measure(
            [*runs, models[0].predict_on_batch], batches[0], args.repeats
        )
        print(
            f"{name:16} {np.median(times[0] / times[1]):9.2f} "
            f"{np.median(times[0] / times[2]):6.2f} "
            f"{size_of(paths[0]) / 1e6:7.1f} MB {difference:12.1e} {same:6.0%}",
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


def load_batches(split, shape, number):
    """Batches of normalized images of Fashion-MNIST, in a list."""
    dataset = keras_epsanet.data.fashion_mnist(split).batch(shape[0])
    batches = []
    for images, _ in dataset.take(number // shape[0] or 1):
        images = tf.image.grayscale_to_rgb(images)
        images = tf.image.resize(images, shape[1:3])
        batches.append(keras_epsanet.preprocess_input(images).numpy())
    return batches


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


def measure(runs, images, repeats):
    """Returns the seconds of functions that run in turns, a row for each."""
    seconds = np.empty((len(runs), repeats))
    for run in runs:
        run(images)
    for i in range(repeats):
        for j, run in enumerate(runs):
            start = time.perf_counter()
            run(images)
            seconds[j, i] = time.perf_counter() - start
    return seconds


def export_saved_model(model, path, shape):
    model.export(path, format="tf_saved_model", verbose=False)
    return path


def load_saved_model(path, shape):
    loaded = tf.saved_model.load(path)
    return lambda images: loaded.serve(images).numpy()


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


def load_onnx(path, shape):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(path, options)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def export_openvino(model, path, shape):
    import openvino

    onnx = export_onnx(model, path, shape)
    openvino.save_model(
        openvino.convert_model(onnx), path + ".xml", compress_to_fp16=False
    )
    return path + ".xml"


def load_openvino(precision):
    def load(path, shape):
        import openvino

        compiled = openvino.Core().compile_model(
            path, "CPU", {"INFERENCE_PRECISION_HINT": precision}
        )
        return lambda images: compiled(images)[0]

    return load


def export_litert(int8):
    def export(model, path, shape):
        folder = export_saved_model(model, path, shape)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            images = load_batches("train", (1, *shape[1:]), 100)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [image] for image in images
            )
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            ]
        path += ".tflite"
        with atomic.whole(path) as temporary, open(temporary, "wb") as file:
            file.write(converter.convert())
        return path

    return export


def load_litert(path, shape):
    interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
    (image,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    interpreter.resize_tensor_input(image["index"], shape)
    interpreter.allocate_tensors()

    def run(images):
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
