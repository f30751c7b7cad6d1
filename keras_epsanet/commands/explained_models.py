"""The models of a page of explanations, and the options of each kind."""

import os
import re

from keras_epsanet import storage
from keras_epsanet.commands.options import load_any_detector
from keras_epsanet.commands.outputs import check_targets
from keras_epsanet.commands.reporting import usable
from keras_epsanet.commands.trained_models import load_classifier_or_detector
from keras_epsanet.data.file_names import printable
from keras_epsanet.detection.detector import Detector
from keras_epsanet.explain.detection_maps import check_method
from keras_epsanet.explain.layer_search import find_layer

# Options of one kind of model, but for `method`, and their defaults.
OF_CLASSIFIERS = {
    "method": "gradcam",
    "compare": None,
    "data": None,
    "ablation_images": 200,
}
# Of a box few pixels are seen, so that each counts by its own gradient.
OF_DETECTORS = {"method": "layercam", "max_detections": 5, "min_score": 0.3}
# Files in the folder of a page.
PICTURES = re.compile(
    r"(attention|ablation|calibration|class|confusion|detections|mistakes|"
    r"pixels|scales)_\d+(_\d+)?\.png"
)


def check_pictures(folder, files):
    """Raises, before any work, if a picture of a page would replace an image.

    Args:
        folder: Path of the folder of the page.
        files: List of the paths of the images that are explained.

    Raises:
        ValueError: With the paths.
    """
    names = filter(PICTURES.fullmatch, map(os.path.basename, files))
    check_targets([os.path.join(folder, name) for name in names], files)


def load_models(args, program):
    """Loads the models, by names that differ.

    Args:
        args: What `explain.parse` returned, which gets the defaults of the
            options of this kind.
        program: Name of the command in messages.

    Returns:
        Dictionary from names to classifiers, or to one detector.

    Raises:
        SystemExit: With a message if a file cannot be used, or has no layer
            `--layer`.
        ValueError: If an option was given that the model gives no meaning to.
    """
    first = args.weights or args.model
    paths = [x for x in (first, args.compare) if x is not None]
    models = {}
    for path in paths:
        with usable(program, path):
            if args.weights:
                model = load_any_detector(path)
            else:
                model = load_classifier_or_detector(path)
        check_options(args, model, path)
        with usable(program, path):
            find_layer(model, args.layer)
        models[_short_name(path, paths)] = model
    is_detector = isinstance(model, Detector)
    defaults = OF_DETECTORS if is_detector else OF_CLASSIFIERS
    for name, default in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    return models


def check_options(args, model, path):
    """Refuses options of the other kind of model.

    Args:
        args: What `explain.parse` returned.
        model: Classifier or detector.
        path: Where it is from, for messages.

    Raises:
        ValueError: If an option was given that the model gives no meaning to,
            or a detector has no images.
    """
    is_detector = isinstance(model, Detector)
    kind, other, theirs = "classifier", "detectors", OF_DETECTORS
    if is_detector:
        kind, other, theirs = "detector", "classifiers", OF_CLASSIFIERS
    given = [
        name
        for name in theirs
        if name != "method" and getattr(args, name) is not None
    ]
    if given:
        options = ", ".join(f"--{x.replace('_', '-')}" for x in given)
        raise ValueError(
            f"{options} can be given for {other} alone. "
            f"Received: {path}, which is a {kind}"
        )
    if is_detector:
        check_method(args.method or OF_DETECTORS["method"])
        if not args.images:
            raise ValueError(
                "A detector is explained on images, IMAGE. Received: none"
            )


def _short_name(path, paths):
    """The name of a file, or of the folder of a training."""

    def shorten(path):
        folder, name = os.path.split(storage.abspath(path))
        stem = os.path.splitext(name)[0]
        return os.path.basename(folder) if name == "model.keras" else stem

    names = [shorten(x) for x in paths]
    name = shorten(path)
    return printable(name if names.count(name) == 1 else path)
