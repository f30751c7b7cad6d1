"""Where a detector's images come from: COCO's form, Pascal VOC's, YOLO's."""

import json
import os
import tempfile
import warnings

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.data import coco
from keras_epsanet.data.coco.contents import read_contents
from keras_epsanet.data.coco.from_voc import is_voc, read_voc
from keras_epsanet.data.coco.from_yolo import read_yolo
from keras_epsanet.data.coco.layouts import WHOLE, find_parts
from keras_epsanet.data.coco.splitting import split_contents
from keras_epsanet.data.coco.yolo_folders import is_yolo

FORMS = (
    "a folder with annotations/instances_train.json, instances_val.json, "
    "train and val, one .json file of COCO's form, or a folder of Pascal "
    "VOC's or YOLO's form"
)


def open_annotations(path, folder, val_share=0.2, seed=0):
    """Opens the data of a training, without the images yet.

    Args:
        path: Data set of COCO's form, as
            `keras_epsanet.data.coco.layouts.find_parts` knows it, of Pascal
            VOC's or of YOLO's.
        folder: Where annotation files are written, into `annotations`, if
            the data have another form, or no part to evaluate with.
        val_share: Float, share of the images that is held out then.
        seed: Integer, which decides about these images.

    Returns:
        Dictionary of the `keras_epsanet.data.coco.Annotations` `"train"` and
        `"val"`.

    Raises:
        OSError, ValueError: If a file is missing or has mistakes.
        ValueError: If there is no image to evaluate with, or the folder has
            annotation files of other data.

    Example:

    >>> from keras_epsanet.data import scenes
    >>> scenes.write("clothes", num_train=5, num_val=1, image_size=64)
    >>> len(open_annotations("clothes", "run")["train"].images)
    5
    >>> file = "clothes/annotations/instances_train.json"
    >>> import shutil
    >>> _ = shutil.move("clothes/train", "images"), shutil.move(file, "a.json")
    >>> opened = open_annotations("a.json", "run")
    >>> len(opened["train"].images), len(opened["val"].images)
    (4, 1)
    """
    found = find_parts(path)
    if {"train", "val"} <= set(found):
        parts = {x: coco.Annotations(*found[x]) for x in ("train", "val")}
        return {**parts, "val": _not_empty(parts["val"], path)}
    contents, images = _read(path, found)
    if "val" not in contents:
        whole = _one_of(contents, ("train", WHOLE), path)
        contents["train"], contents["val"] = split_contents(
            whole, val_share, seed
        )
    _one_of(contents, ("train",), path)
    for part in ("train", "val"):
        _check_unwritten(contents[part], folder, part)
    return {
        part: _write(contents[part], images, folder, part)
        for part in ("train", "val")
    }


def open_part(path, part, folder, run=None, check=None):
    """Opens one part of a data set, to evaluate with.

    Args:
        path, folder: As in `open_annotations`.
        part: `"train"`, `"val"` or `"test"`. Data of which no part is known
            are taken as a whole.
        run: Folder of the training of the detector, or `None`. Of data
            without the part, it is what that training held out.
        check: Optional function of the `Annotations`, called before anything
            is written into `folder`, which raises if they are of no use.

    Returns:
        `keras_epsanet.data.coco.Annotations`.

    Raises:
        OSError, ValueError: As of `open_annotations`.
    """
    check = check or (lambda annotations: None)
    found = find_parts(path)
    if part in found:
        return _checked(coco.Annotations(*found[part]), path, check)
    held_out = _written(run, part) if run else None
    if held_out and storage.isfile(held_out):
        _, images = _read(path, found)
        return _checked(coco.Annotations(held_out, images), path, check)
    if len(found) == 1 and WHOLE in found:
        return _checked(coco.Annotations(*found[WHOLE]), path, check)
    contents, images = _read(path, found)
    names = (part,) if len(contents) > 1 else (part, WHOLE)
    chosen = _one_of(contents, names, path)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # They come again.
        opened = _write(chosen, images, temporary, part)
    _checked(opened, path, check)  # What it warns of is said here alone.
    return _write(chosen, images, folder, part)


def _read(path, found):
    """Contents of all parts, and the folder in which file names begin."""
    if found:
        folders = {images for _, images in found.values()}
        root = _common_folder(folders)
        contents = {}
        for part, (file, images) in found.items():
            contents[part] = read_contents(file)
            inner = os.path.relpath(storage.abspath(images), root)
            for image in contents[part]["images"]:
                name = image.get("file_name")
                if isinstance(name, str):
                    name = os.path.normpath(os.path.join(inner, name))
                    image["file_name"] = name
        return contents, root
    if storage.isdir(path):
        # First, for there may be notes in YAML beside the others' files.
        if is_voc(path):
            return read_voc(path), path
        if is_yolo(path):
            return read_yolo(path), path
    raise ValueError(f"The data must be {FORMS}. Received: {path}")


def _common_folder(folders):
    folders = [storage.abspath(folder) for folder in folders]
    common = os.path.commonpath(folders)
    if storage.is_remote(folders[0]):  # Of two slashes one is left.
        return common.replace(":/", "://", 1)
    return common


def _one_of(contents, parts, path):
    for part in parts:
        if part in contents:
            return contents[part]
    raise ValueError(
        f"The data must be {FORMS}. Received: {path} without {parts[0]}, with "
        f"{', '.join(contents)}"
    )


def _written(folder, part):
    return os.path.join(folder, "annotations", f"instances_{part}.json")


def _check_unwritten(contents, folder, part):
    """Raises if a folder has a file of other data, which a training needs."""
    path = _written(folder, part)
    if storage.isfile(path) and not _is_written(contents, path):
        raise ValueError(
            f"{folder} belongs to a training on other data. Take another "
            f"folder. Received: other contents than those of {path}"
        )


def _is_written(contents, path):
    """Whether a file has these contents, as other workers find it."""
    if not storage.isfile(path):
        return False
    with storage.open_file(path, encoding="utf-8") as file:
        return file.read() == json.dumps(contents)


def _write(contents, images, folder, part):
    path = _written(folder, part)
    if not _is_written(contents, path):
        storage.makedirs(os.path.dirname(path), exist_ok=True)
        write_file(path, json.dumps(contents))
    return coco.Annotations(path, images)


def _checked(annotations, path, check):
    check(_not_empty(annotations, path))
    return annotations


def _not_empty(annotations, path):
    if not annotations.images:
        raise ValueError(
            "There must be an image to evaluate with. "
            f"Received: {path}, without any"
        )
    return annotations
