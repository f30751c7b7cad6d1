"""Folders to be published, from a trained classifier and back."""

from keras_epsanet.classification.inference import resizing
from keras_epsanet.hub import timm_folders
from keras_epsanet.hub.cards import SUMS
from keras_epsanet.hub.class_names import FILE as CLASS_NAMES
from keras_epsanet.hub.class_names import class_names_of, write_class_names
from keras_epsanet.hub.files import check_local, published_folder
from keras_epsanet.hub.fronts import read_front
from keras_epsanet.hub.tasks import image_classifier
from keras_epsanet.hub.timm_folders import load_timm, save_timm
from keras_epsanet.models.presets import import_keras_hub

# What KerasHub writes of a classifier, the class names, and the card's sums.
FILES = (
    "metadata.json",
    "config.json",
    "model.weights.h5",
    "task.json",
    "task.weights.h5",
    "preprocessor.json",
    "image_converter.json",
    CLASS_NAMES,
    SUMS,
)
KEYS = ("keras_hub_version", "parameter_count", "date_saved")


def save_preset(model, folder):
    """Writes a classifier as a preset of KerasHub, with its class names.

    Args:
        model: As in `image_classifier`.
        folder: Path of the folder. It is made if need be, and appears when
            all of it is there; of a preset that was there the files are
            replaced.

    Raises:
        ImportError: If KerasHub is missing.
        ValueError: As of `image_classifier`, or if the folder is in a
            storage, or holds something else than a preset.

    Example:

    >>> from keras_epsanet import EPSANet50Small
    >>> save_preset(EPSANet50Small(classes=5), "published")
    >>> import keras_hub
    >>> task = keras_hub.models.ImageClassifier.from_preset("published")
    >>> task.num_classes
    5
    """
    check_local(folder)
    task, names = image_classifier(model), class_names_of(model)
    with published_folder(folder, FILES, KEYS) as temporary:
        task.save_to_preset(temporary)
        if names:
            write_class_names(temporary, names)


WRITERS = {"preset": save_preset, "timm": save_timm}
_KINDS = {
    "preset": (FILES, KEYS),
    "timm": (timm_folders.FILES, timm_folders.KEYS),
}


def published_as(kind, folder):
    """`published_folder` of a kind, whose files are checked in between.

    Args:
        kind: `"preset"` or `"timm"`.
        folder: Path of the folder.

    Returns:
        Context manager of the path of an empty folder, which the writer of
        the kind takes.
    """
    return published_folder(folder, *_KINDS[kind])


def open_published(folder, kind, model):
    """Returns what a folder predicts from the images that a model takes.

    Args:
        folder: Path of the folder.
        kind: `"preset"` or `"timm"`.
        model: The model that was saved there.

    Returns:
        Function of a batch of images.
    """
    front = read_front(model)
    if kind == "timm":
        network = load_timm(folder, include_preprocessing=front.is_inside)
        resize = resizing(model)
        return lambda images: network.predict(resize(images), verbose=0)
    task = import_keras_hub().models.ImageClassifier.from_preset(folder)
    if not front.is_inside:
        converter = task.preprocessor.image_converter
        converter.scale = converter.offset = None
    return lambda images: task.predict(images, verbose=0)
