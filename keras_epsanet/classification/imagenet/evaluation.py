"""Weights on ImageNet as in table 2 of the paper."""

import warnings

import keras

from keras_epsanet import distribution
from keras_epsanet.classification.models import MODELS, metrics
from keras_epsanet.data import imagenet
from keras_epsanet.graph.complexity import complexity
from keras_epsanet.models.preprocessing import rescale
from keras_epsanet.paper import TABLE_2


def load_network(name, weights, classes):
    """Builds a network and loads all of its weights.

    Args:
        name: Name of the network, such as `"epsanet50_small"`.
        weights: Path of a file, as for `keras_epsanet.EPSANet50Small`.
        classes: Integer.

    Returns:
        `keras.Model` for normalized images of any size.

    Raises:
        ValueError: If the weights are not those of this network and number
            of classes.
    """
    with warnings.catch_warnings():
        # A classifier of other classes would be left out with a warning.
        warnings.filterwarnings("error", category=UserWarning)
        try:
            return MODELS[name](
                weights=weights,
                # Any size, for its FLOPs are those at 224×224.
                input_shape=(None, None, 3),
                classes=classes,
            )
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning


def evaluate(network, source, batch_size, image_size, strategy):
    """Evaluates a network on the validation images.

    Args:
        network: What `load_network` returned.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        batch_size: Integer, images in a batch of all devices.
        image_size: Integer, side of the images in pixels.
        strategy: What `keras_epsanet.distribution.make_strategy` returned,
            in whose scope this is called.

    Returns:
        Dictionary of `"top1"` and `"top5"`, floats from 0 to 1, and
        `"loss"`.
    """
    image = keras.Input((image_size, image_size, 3))
    model = keras.Model(image, network(rescale(image, "channels_last")))
    model.compile(loss="categorical_crossentropy", weighted_metrics=metrics())
    batches = distribution.divide_batches(
        lambda shard: imagenet.evaluation_batches(
            source, batch_size, image_size=image_size, shard=shard
        ),
        strategy,
    )
    return model.evaluate(batches, return_dict=True)


def table_row(name, network, result):
    """Puts what was found beside the figures of table 2.

    Args:
        name: Name of the network.
        network: What `load_network` returned.
        result: What `evaluate` returned.

    Returns:
        String of three lines.
    """
    counts = complexity(network, (224, 224, 3))
    ours = (
        counts.parameters / 1e6,
        counts.flops / 1e9,
        100 * result["top1"],
        100 * result["top5"],
    )
    titles = ("parameters in M", "FLOPs in G", "top-1 %", "top-5 %")
    pairs = zip(ours, TABLE_2[name])
    lines = (
        (f"{'Table 2':18}", *(f"{title:>16}" for title in titles)),
        (" " * 18, *4 * [f"{'ours':>8}{'paper':>8}"]),
        (f"{name:18}", *(f"{mine:8.2f}{paper:8.2f}" for mine, paper in pairs)),
    )
    return "\n".join(" ".join(line) for line in lines)
