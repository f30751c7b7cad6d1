"""Trains an EPSANet to classify images and looks at what it has learned.

    python examples/train_classifier.py

trains EPSANet-50 Small from scratch on the 10,000 images of Fashion-MNIST
that come with the package and needs no network. On 2 cores of an AMD EPYC
processor with AVX2 it took 6 minutes 29 seconds and reached 88.1% top-1 on
the 2,000 held-out images.

    python examples/train_classifier.py --data FOLDER --image-size 224

trains on your own images: a folder with a sub-folder for each class, or one
with such folders `train` and `val` or `test`. With `--tfds NAME` they come
from TensorFlow Datasets. Needs `pip install keras-epsanet[examples]`.

    python examples/train_classifier.py --data FOLDER --weights FILE --freeze

trains a new classifier on top of trained weights and leaves all else as it
is; without `--freeze`, all of the network is trained further.

In the output folder it leaves `model.keras`, which takes RGB images of any
size with values from 0 to 255 and knows the names of its classes (see
`predict.py`), and the pictures `curves.png` and `predictions.png`.
"""

import argparse
import os
import sys
import time
import warnings

# On processors without AVX-512 TensorFlow leaves these kernels off, although
# they train this network 2.5 times as fast there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import tensorflow as tf

import keras_epsanet
from keras_epsanet import data
from keras_epsanet.layers import ClassNames
from keras_epsanet.models.imagenet import IMAGENET_MEAN, IMAGENET_STD

MODELS = {
    "epsanet50_small": keras_epsanet.EPSANet50Small,
    "epsanet50_large": keras_epsanet.EPSANet50Large,
    "epsanet101_small": keras_epsanet.EPSANet101Small,
    "epsanet101_large": keras_epsanet.EPSANet101Large,
}


def main():
    args = parse_args()
    try:
        keras.utils.set_random_seed(args.seed)
        pyplot = import_pyplot()
        train, held_out = load_data(args)
        check_classes(args, train.class_names)
        strategy = make_strategy()
        with strategy.scope():
            model = build_model(args, train.class_names)
            compile_model(model, make_optimizer(args, train.num_images))
        os.makedirs(args.output, exist_ok=True)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"train_classifier: {error}")

    print(
        f"{args.model} on {strategy.num_replicas_in_sync} device(s): "
        f"{len(train.class_names)} classes, {train.num_images:,} images to "
        f"train, {held_out.num_images:,} held out"
    )
    batches = make_batches(held_out, args)
    # Keras says so after every pass over images whose number it is not told.
    warnings.filterwarnings("ignore", "Your input ran out of data")
    start = time.time()
    history = model.fit(
        make_batches(train, args, training=True),
        epochs=args.epochs,
        steps_per_epoch=steps_per_epoch(args, train.num_images),
        validation_data=batches,
        shuffle=False,  # The batches are shuffled already.
    )
    print(f"Trained in {time.time() - start:.0f} s")
    report_undecodable(train, held_out)

    path = os.path.join(args.output, "model.keras")
    save_model(model, path)
    plot_curves(pyplot, history.history, f"{args.output}/curves.png")
    plot_predictions(pyplot, model, batches, f"{args.output}/predictions.png")
    with strategy.scope():
        check_saved_model(path, history.history, batches)


def parse_args():
    parser = argparse.ArgumentParser(
        description="Trains an EPSANet to classify images.",
        usage="%(prog)s [options]",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder with a sub-folder of images for each class, or with "
        "such folders train and val or test (default: Fashion-MNIST)",
    )
    source.add_argument(
        "--tfds", metavar="NAME", help="name in TensorFlow Datasets"
    )
    parser.add_argument("--model", choices=MODELS, default="epsanet50_small")
    parser.add_argument(
        "--image-size",
        type=positive(int),
        default=48,
        help="side in pixels to which images are resized (default: 48)",
    )
    parser.add_argument(
        "--epochs", type=positive(int), default=2, help="default: 2"
    )
    parser.add_argument(
        "--batch-size",
        type=positive(int),
        default=64,
        help="images in a step, on all devices together (default: 64)",
    )
    parser.add_argument(
        "--learning-rate",
        type=positive(float),
        help="the highest (default: 0.1 / 64 * batch size)",
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="mirror half of the images, for longer trainings",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="weights to start from"
    )
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="train the classifier alone: the weights of the other layers "
        "and the statistics of every BatchNorm stay",
    )
    parser.add_argument(
        "--classes",
        type=positive(int),
        metavar="N",
        help="number of classes that the images must have",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/classifier",
        help="folder for the results (default: runs/classifier)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    args = parser.parse_args()
    if args.freeze and args.weights is None:
        parser.error("--freeze needs --weights to keep")
    if args.learning_rate is None:
        args.learning_rate = 0.1 / 64 * args.batch_size
    return args


def positive(number):
    """Returns a function that reads a positive `int` or `float`."""

    def read(text):
        value = number(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    read.__name__ = number.__name__  # For the message of argparse.
    return read


def import_pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "The pictures need matplotlib: pip install keras-epsanet[examples]"
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def make_strategy():
    """Several devices take their parts of each batch; one, as usual."""
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([x.name for x in devices])
    return tf.distribute.get_strategy()


def load_data(args):
    """Returns the images to train with and those to hold out."""
    if args.tfds:
        train = data.tfds(args.tfds, "train")
        for split in ("validation", "test"):
            if split in train.splits:
                return train, data.tfds(args.tfds, split)
        return (
            data.tfds(args.tfds, "train[:80%]"),
            data.tfds(args.tfds, "train[80%:]"),
        )
    if args.data is None:
        return data.fashion_mnist("train"), data.fashion_mnist("test")
    for name in ("val", "test"):
        folders = [os.path.join(args.data, part) for part in ("train", name)]
        if all(os.path.isdir(folder) for folder in folders):
            train, held_out = map(data.image_folder, folders)
            if train.class_names != held_out.class_names:
                raise ValueError(
                    "Both folders must have the same classes. Received: "
                    f"{folders[0]} with {train.class_names}, "
                    f"{folders[1]} with {held_out.class_names}"
                )
            return train, held_out
    return (
        data.image_folder(args.data, subset="train"),
        data.image_folder(args.data, subset="held_out"),
    )


def check_classes(args, class_names):
    if args.classes not in (None, len(class_names)):
        raise ValueError(
            f"The images have {len(class_names)} classes: {class_names}. "
            f"Received: --classes {args.classes}"
        )


def make_batches(dataset, args, training=False):
    """Batches of RGB images, `(N, size, size, 3)`, and one-hot classes."""
    classes = len(dataset.class_names)
    resize = keras.layers.Resizing(args.image_size, args.image_size)
    flip = keras.layers.RandomFlip("horizontal", seed=args.seed)

    def prepare(image, label):
        if image.shape[-1] == 1:
            image = tf.image.grayscale_to_rgb(image)
        image = tf.saturate_cast(tf.round(resize(image)), "uint8")
        return image, tf.one_hot(label, classes)

    batches = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    if training:
        # The order of all sources is mixed, so a small buffer will do.
        batches = batches.shuffle(1000, seed=args.seed).repeat()
    batches = batches.batch(args.batch_size)
    if training and args.flip:
        batches = batches.map(lambda x, y: (flip(x, training=True), y))
    return batches.prefetch(tf.data.AUTOTUNE)


def build_model(args, class_names):
    """One model from the pixels to the names, so that one file holds all."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Resizing(args.image_size, args.image_size)(image)
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)],
    )(x)
    network = MODELS[args.model](
        weights=args.weights, input_tensor=x, classes=len(class_names)
    )
    if args.weights is None:
        # Every block starts as its shortcut, which learns sooner: section
        # 5.1 of Goyal et al., https://arxiv.org/abs/1706.02677.
        for layer in network.layers:
            if layer.name.endswith("_3_bn"):
                layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    if args.freeze:
        # A BatchNorm that is not trainable also keeps its statistics.
        for layer in network.layers:
            layer.trainable = layer.name == "predictions"
    predictions = ClassNames(class_names)(network.output)
    return keras.Model(image, predictions, name=args.model)


def report_undecodable(*datasets):
    """Counts the files that were named and skipped while training."""
    skipped = sum(len(getattr(x, "undecodable", ())) for x in datasets)
    if skipped:
        print(f"Skipped {skipped} image file(s) that cannot be decoded")


def steps_per_epoch(args, num_images):
    return -(-num_images // args.batch_size)


def make_optimizer(args, num_images):
    """SGD whose rate rises for a tenth of the steps, then falls to 0."""
    steps = args.epochs * steps_per_epoch(args, num_images)
    warm_up = max(1, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=steps - warm_up,
        warmup_target=args.learning_rate,
        warmup_steps=warm_up,
    )
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def compile_model(model, optimizer=None):
    model.compile(
        optimizer=optimizer or "sgd",
        # Section 4.1 of the paper.
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="top1"),
            keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        ],
    )


def save_model(model, path):
    """Writes the model without optimizer, and never half of a file."""
    temporary = f"{path}.tmp.keras"
    keras.Model(model.input, model.output, name=model.name).save(temporary)
    os.replace(temporary, path)


def check_saved_model(path, history, held_out):
    """Raises if the saved model is not as accurate as the trained one."""
    model = keras.saving.load_model(path)
    compile_model(model)
    reloaded = model.evaluate(held_out, verbose=0, return_dict=True)
    trained = {key: history[f"val_{key}"][-1] for key in reloaded}
    for name, result in (("Trained", trained), ("Reloaded", reloaded)):
        print(
            f"{name}: held-out top-1 {result['top1']:.2%}, "
            f"top-5 {result['top5']:.2%}"
        )
    if any(reloaded[key] != trained[key] for key in ("top1", "top5")):
        raise RuntimeError(f"{path} is not as accurate as the trained model")
    print(f"Saved {path}, which is as accurate as the trained model")


def plot_curves(pyplot, history, path):
    """Draws loss and accuracy of every epoch."""
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history["loss"]) + 1)
    for axis, key, title in zip(
        axes, ("loss", "top1"), ("Loss", "Top-1 accuracy")
    ):
        axis.plot(epochs, history[key], "o-", label="training")
        axis.plot(epochs, history[f"val_{key}"], "s-", label="held out")
        axis.set(title=title, xlabel="Epoch", xlim=(0.5, len(epochs) + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


def plot_predictions(pyplot, model, held_out, path):
    """Draws held-out images with what they are and what they are taken for."""
    images, labels = next(iter(held_out.unbatch().batch(24)))
    names = model.layers[-1].names
    decoded = model.layers[-1].decode(model(images, training=False), top=1)
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(2 * columns + 0.5, 0.5 + 2.4 * rows),
        layout="constrained",
        squeeze=False,
    )
    figure.suptitle("Held-out images: true class → predicted")
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, label, [(predicted, probability)] in zip(
        axes.flat, images, tf.argmax(labels, axis=-1), decoded
    ):
        axis.imshow(tf.cast(image, "uint8"))
        axis.set_title(
            f"{names[label]}\n→ {predicted} {probability:.0%}",
            color="green" if predicted == names[label] else "red",
            fontsize=10,
        )
    figure.savefig(path, dpi=120)
    print(f"Saved {path}")


if __name__ == "__main__":
    main()
