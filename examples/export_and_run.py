"""Exports a trained classifier, and runs it without Keras and TensorFlow.

    python examples/export_and_run.py

trains a small network on the embedded pictures of clothes, writes it as ONNX
without its BatchNorms, and classifies pictures by ONNX Runtime. On 2 cores of
an AMD EPYC processor with AVX2 and other work it took 2 minutes 57 seconds:

    77.70% right by ONNX Runtime
    1e-06 the largest difference

    python examples/export_and_run.py clothes.onnx PICTURE...

names what other pictures show, by numpy, Pillow and onnxruntime alone.
Needs `pip install ".[export]"`.
"""

import sys

import numpy as np

NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def run(path, images):
    """Probabilities of images `(N, 32, 32, 3)` from 0 to 255."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (image,) = session.get_inputs()
    return session.run(None, {image.name: np.float32(images)})[0]


def open_picture(path):
    import PIL.Image

    return np.asarray(PIL.Image.open(path).convert("RGB").resize((32, 32)))


def load(split, number):
    """Images `(N, 32, 32, 3)` from 0 to 255, and classes `(N,)`."""
    from keras_epsanet.data import fashion_mnist

    pairs = fashion_mnist(split).take(number).as_numpy_iterator()
    images, labels = map(np.stack, zip(*pairs))
    images = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    return np.repeat(images, 3, axis=-1).astype("float32"), labels


def main(number=5000, epochs=2, path="clothes.onnx"):
    import keras

    import keras_epsanet

    # Data
    images, labels = load("train", number)
    tests, truth = load("test", number)

    # Model
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    network = keras_epsanet.EPSANet(
        stackwise_num_blocks=(1, 1),
        stackwise_num_filters=(64, 128),
        kernel_sizes=(3, 5),
        groups=(1, 4),
        input_tensor=keras.layers.Rescaling(1 / 127.5, -1.0)(image),
        classes=len(NAMES),
    )
    model = keras.Model(image, network.output)

    # Fit
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=32, epochs=epochs, verbose=2)

    # Export
    expected = model.predict(tests, verbose=0)
    fused = keras_epsanet.fuse(model)  # Smaller and faster.
    fused.predict(tests[:1], verbose=0)  # Once, before it goes to ONNX.
    fused.export(path, format="onnx", verbose=False)

    # Look
    found = run(path, tests)
    print(f"{np.mean(found.argmax(-1) == truth):.2%} right by ONNX Runtime")
    print(f"{np.abs(found - expected).max():.0e} the largest difference")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        pictures = [open_picture(path) for path in sys.argv[2:]]
        for name, row in zip(sys.argv[2:], run(sys.argv[1], pictures)):
            print(f"{name}: {NAMES[row.argmax()]} {row.max():.1%}")
