"""YOLO's text files, read as contents of COCO's form."""

import os
import warnings

from keras_epsanet import storage
from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.coco.part_files import write_parts
from keras_epsanet.data.coco.yolo_folders import describe
from keras_epsanet.data.decode import upright_size
from keras_epsanet.data.text_files import read_text


def write_from_yolo(path, folder, part=None):
    """Writes a COCO annotation file of a folder in YOLO's form.

        folder/data.yaml            names, and where train and val are
                                    (or dataset.yaml, or another with names)
        folder/images/train/1.jpg ...
        folder/labels/train/1.txt ...

    The images stay where they are: they are those of `folder` for
    `Annotations`. A line of a text file is a class and the center, width and
    height of a box, or the corners of a polygon, in shares of the image. The
    text files may also be beside the images, and the names in `classes.txt`.
    An image without a text file has no objects, and a part without any text
    file is named in a warning; an image that cannot be read is left out, with
    a warning.

    Args:
        path: Path of the JSON file that is written.
        folder: Path of the folder.
        part: `"train"`, `"val"`, `"test"`, or `"all"` where there are no
            parts; `None` for the parts that there are, each in a file of its
            own: `my_train.json`, `my_val.json` for `"my.json"`. Without
            parts it is `path`, of all images.

    Returns:
        List of the paths that were written.

    Raises:
        ImportError: If there is a .yaml file, and PyYAML is not installed.
        ValueError: If it is no such folder, has no such part, a file, which
            is named with the line, has mistakes, or more than 1 % of the
            images, and more than three, cannot be read.
    """
    return write_parts(path, read_yolo(folder), part)


def read_yolo(folder):
    """Reads a folder in YOLO's form.

    Args:
        folder: Path.

    Returns:
        Dictionary from the parts to contents in COCO's form, whose file names
        begin in `folder`; of `"all"` where there are no parts.

    Raises:
        ImportError, ValueError: As of `write_from_yolo`.
    """
    folder = os.fspath(folder)
    names, parts = describe(folder)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "Each class must have a name of its own. "
            f"Received: {folder} with {', '.join(twice)} twice"
        )
    return {
        part: _contents(folder, part, files, names)
        for part, files in parts.items()
    }


def _contents(folder, part, files, names):
    images, annotations, bad = [], [], BadImages(len(files))
    is_labeled = False
    for number, path in enumerate(files, start=1):
        try:
            height, width = upright_size(path)
        except ValueError as error:
            bad.add(path, error)
            continue
        images.append(
            {
                "id": number,
                "file_name": os.path.relpath(path, folder),
                "width": width,
                "height": height,
            }
        )
        label_file = _label_file(path)
        is_labeled |= label_file is not None
        for entry in _read_labels(label_file, width, height, len(names)):
            entry |= {"id": len(annotations) + 1, "image_id": number}
            annotations.append({**entry, "iscrowd": 0})
    if images and not is_labeled:
        warnings.warn(
            "No image has a text file, so there are no objects. Received: "
            f"{folder} with {part}, without {_label_places(files[0])[0]}",
            stacklevel=2,
        )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name} for i, name in enumerate(names, start=1)
        ],
    }


def _label_places(path):
    """The text files that an image may have, of which the first one counts."""
    stem = os.path.splitext(path)[0]
    *folders, name = stem.split(os.sep)
    places = [f"{stem}.txt"]
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
        places.insert(0, os.sep.join([*folders, f"{name}.txt"]))
    return places


def _label_file(path):
    return next(filter(storage.isfile, _label_places(path)), None)


def _read_labels(path, width, height, num_classes):
    """The objects in a text file; none without a file."""
    if path is None:
        return []
    return [
        _read_line(line, width, height, num_classes, path, number)
        for number, line in enumerate(read_text(path).split("\n"), start=1)
        if line.strip()
    ]


def _read_line(line, width, height, num_classes, path, number):
    try:
        label, *values = map(float, line.split())
        is_box = len(values) == 4
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if not (label in range(num_classes) and (is_box or is_polygon)):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"A line must be a class from 0 to {num_classes - 1} and a box of "
            "four numbers or a polygon of six and more. "
            f"Received: {line.strip()!r} in line {number} of {path}"
        ) from None
    xs, ys = (
        [side * value for value in values[i::2]]
        for i, side in enumerate((width, height))
    )
    entry = {"category_id": int(label) + 1}
    if is_box:
        (x, w), (y, h) = xs, ys
        box = [x - w / 2, y - h / 2, w, h]
    else:
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        outline = [value for pair in zip(xs, ys) for value in pair]
        entry["segmentation"] = [outline]
    # Of an outline the area is that of its mask.
    return {**entry, "bbox": box} | (
        {"area": box[2] * box[3]} if is_box else {}
    )
