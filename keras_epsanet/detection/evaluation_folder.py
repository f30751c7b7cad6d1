"""A long evaluation that goes on where it was interrupted.

    FOLDER/parts/0123456789abcdef/settings.json
    FOLDER/parts/0123456789abcdef/00000000.json ...

Each part has the results of some batches. They are kept under the hash of all
that decides about them, so that those of other weights never mix with them.
"""

import hashlib
import json
import os

import keras

from keras_epsanet import storage
from keras_epsanet.atomic import remove_unfinished, sha256, write_file
from keras_epsanet.data import coco
from keras_epsanet.detection.evaluation import to_results
from keras_epsanet.distribution import predict
from keras_epsanet.training.claim import check_claim

# Images whose results an interruption costs at most, with whole batches.
IMAGES_A_PART = 64
# Of a detector's configuration, what does not change what it finds.
_WITHOUT_EFFECT = ("backbone", "name", "trainable", "head_initializer", "seed")


def evaluate_images(
    detector, annotations, batch_size, folder, on_images=None, claim=None
):
    """Predicts for all images, or for those that were not done before.

    Args:
        detector: `Detector`.
        annotations: `keras_epsanet.data.coco.Annotations`.
        batch_size: Integer, images on all devices together.
        folder: Where results are kept; it need not exist.
        on_images: Optional function of the number of images that are done,
            called at the start, too.
        claim: What `claim_folder` returned for the folder, or `None`: a
            second process that writes there is refused, or in a storage
            takes it over.

    Returns:
        Results in COCO's form, a list of dictionaries, and the list of the
        names of images that could not be read.

    Raises:
        OSError: If the results cannot be written.
        RuntimeError: If another process has taken over the folder.
        ValueError: If an argument is out of range.
    """
    settings = describe(detector, annotations, batch_size)
    parts = os.path.join(folder, "parts", settings["hash"][:16])
    storage.makedirs(parts, exist_ok=True)
    remove_unfinished(parts)
    path = os.path.join(parts, "settings.json")
    write_file(path, json.dumps(settings, indent=1) + "\n")
    number = max(1, IMAGES_A_PART // batch_size)
    results, bad, first = _read(parts, number)
    done = min(first * batch_size, len(annotations.images))
    on_images = on_images or (lambda done: None)
    on_images(done)
    if done == len(annotations.images):
        return results, bad
    batches = coco.load(
        annotations,
        batch_size,
        image_size=detector.image_size,
        bounding_box_format=detector.bounding_box_format,
        first_step=first,
    )
    new = []
    for place, batch in enumerate(batches, start=first):
        new += _predict(detector, batch, annotations)
        done = min(done + batch_size, len(annotations.images))
        if (place + 1) % number == 0 or done == len(annotations.images):
            names = [x for x in annotations.bad if x not in bad]
            part = {"results": new, "bad": names}
            name = f"{place // number * number:08d}.json"
            check_claim(claim)
            write_file(os.path.join(parts, name), json.dumps(part))
            results, bad, new = results + new, bad + names, []
        on_images(done)
    return results, bad


def describe(detector, annotations, batch_size):
    """Describes all that decides what an evaluation finds.

    Args:
        detector, annotations, batch_size: As in `evaluate_images`.

    Returns:
        Dictionary of settings and `"hash"`, that of all the others.
    """
    weights = hashlib.sha256()
    for variable in detector.variables:
        array = keras.ops.convert_to_numpy(variable)
        weights.update(f"{array.dtype}{array.shape}".encode())
        weights.update(array.tobytes())
    settings = {
        "detector": type(detector).__name__,
        "weights": weights.hexdigest(),
        "precision": detector.dtype_policy.name,
        "annotations": sha256(annotations.path),
        "images": storage.abspath(os.path.dirname(annotations.images[0].path)),
        "batch_size": batch_size,
        **{
            name: value
            for name, value in detector.get_config().items()
            if name not in _WITHOUT_EFFECT
        },
    }
    settings = json.loads(json.dumps(settings, default=str))
    text = json.dumps(settings, sort_keys=True)
    return {"hash": hashlib.sha256(text.encode()).hexdigest(), **settings}


def _read(parts, number):
    """The results of the first parts, and the first batch that is missing."""
    results, bad, first = [], [], 0
    while True:
        try:
            path = os.path.join(parts, f"{first:08d}.json")
            with storage.open_file(path) as file:
                part = json.load(file)
            found, names = part["results"], part["bad"]
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return results, bad, first
        results, bad, first = results + found, bad + names, first + number


def _predict(detector, batch, annotations):
    inputs = {name: batch[name] for name in ("images", "image_size")}
    return to_results(
        # Fewer images than devices, or a number they do not divide, too.
        predict(detector, [inputs]),
        batch,
        annotations.category_ids,
        detector.bounding_box_format,
    )
