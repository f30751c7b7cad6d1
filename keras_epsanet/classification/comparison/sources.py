"""What the networks are compared on: the embedded images, or ImageNet."""

from keras_epsanet import storage, training
from keras_epsanet.classification import batches, fitting, sources
from keras_epsanet.classification.imagenet import fitting as imagenet_fitting
from keras_epsanet.data import imagenet
from keras_epsanet.distribution import pad_to_devices

# That of `keras-epsanet train`: two epochs.
EMBEDDED = training.ClassifierRecipe()


class EmbeddedImages:
    """Fashion-MNIST, as `keras-epsanet train` reads it."""

    name = "Fashion-MNIST"

    def __init__(self):
        self.images = sources.open_images()
        self.class_names = self.images.class_names
        self.counts = (
            self.images.train.num_images,
            self.images.held_out.num_images,
        )

    def steps_per_epoch(self, recipe):
        """Returns the steps of `fit` in an epoch, an integer."""
        return batches.steps_per_epoch(self.images.train, recipe)

    def fit(self, model, average, strategy, run, state, *checkpointing):
        """Trains to the end, with the arguments of `fitting.fit`."""
        held_out = batches.evaluation_batches(self.images.held_out, run.recipe)
        fitting.fit(
            model,
            average,
            self.images.train,
            pad_to_devices(held_out, strategy),
            run,
            state,
            *checkpointing,
        )


class ImageNet:
    """ImageNet, as `keras-epsanet train-imagenet` reads it.

    Args:
        path: As in `keras_epsanet.data.imagenet.open_source`.
    """

    def __init__(self, path):
        is_folder = storage.isdir(path)
        self.name = storage.abspath(path) if is_folder else path
        self.source = imagenet.open_source(path)
        self.class_names = self.source.class_names
        self.counts = (self.source.num_train, self.source.num_val)

    def steps_per_epoch(self, recipe):
        """Returns the steps of `fit` in an epoch, an integer."""
        return imagenet_fitting.count_steps(self.source, recipe)

    def fit(self, model, average, strategy, run, state, *checkpointing):
        """Trains to the end, with the arguments of `imagenet.fitting.fit`."""
        imagenet_fitting.fit(
            model, average, strategy, self.source, run, state, *checkpointing
        )


def open_source(path=None):
    """Opens what the networks are trained with.

    Args:
        path: ImageNet, as `keras_epsanet.data.imagenet.open_source` takes
            it, or `None` for the embedded images.

    Returns:
        `EmbeddedImages` or `ImageNet`.

    Raises:
        ImportError, ValueError: If there are no such images.

    Example:

    >>> open_source().counts
    (10000, 2000)
    """
    return EmbeddedImages() if path is None else ImageNet(path)


def base_recipe(path=None):
    """Returns the recipe of a comparison, before any option.

    Args:
        path: As in `open_source`.

    Example:

    >>> base_recipe("imagenet").epochs
    120
    """
    return EMBEDDED if path is None else training.IMAGENET
