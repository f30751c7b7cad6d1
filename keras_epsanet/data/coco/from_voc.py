"""Pascal VOC's XML files, read as contents of COCO's form."""

import os
import xml.etree.ElementTree as ElementTree

from keras_epsanet import storage
from keras_epsanet.data.class_folders import ENDINGS
from keras_epsanet.data.coco.layouts import PARTS, WHOLE
from keras_epsanet.data.coco.part_files import write_parts
from keras_epsanet.data.decode import decode_image
from keras_epsanet.data.text_files import list_names, read_text

_IMAGES = ("JPEGImages", "images", "")


def write_from_voc(path, folder, part=None):
    """Writes a COCO annotation file of a folder in Pascal VOC's form.

        folder/Annotations/000001.xml ...
        folder/JPEGImages/000001.jpg ...
        folder/ImageSets/Main/train.txt, val.txt

    The images stay where they are: they are those of `folder` for
    `Annotations`. The XML files may also be beside the images, as LabelImg
    writes them. Boxes count pixels from 1 on and hold the last one, as VOC's
    do; what is `difficult` is a crowd, which is neither learned nor counted.

    Args:
        path: Path of the JSON file that is written.
        folder: Path of the folder.
        part: `"train"`, `"val"` or `"test"` of `ImageSets`, or `"all"`;
            `None` for the parts that there are, each in a file of its own:
            `my_train.json`, `my_val.json` for `"my.json"`. Without parts it
            is `path`, of all images.

    Returns:
        List of the paths that were written.

    Raises:
        ValueError: If it is no such folder, has no such part, or a file,
            which is named, has mistakes.
    """
    return write_parts(path, read_voc(folder), part)


def is_voc(folder):
    """Whether a folder is in Pascal VOC's form.

    Args:
        folder: Path.
    """
    return bool(_xml_files(folder)[1])


def read_voc(folder):
    """Reads a folder in Pascal VOC's form.

    Args:
        folder: Path.

    Returns:
        Dictionary from the parts to contents in COCO's form, with the same
        categories, whose file names begin in `folder`. Where `ImageSets` name
        no part, it is `"all"`.

    Raises:
        ValueError: As of `write_from_voc`.
    """
    folder = os.fspath(folder)
    where, names = _xml_files(folder)
    if not names:
        raise ValueError(
            "`folder` must have XML files in `Annotations` or in itself. "
            f"Received: folder={folder}"
        )
    entries = {
        name: _read_file(folder, where, name, number)
        for number, name in enumerate(names, start=1)
    }
    classes = sorted({x[0] for _, found in entries.values() for x in found})
    parts = _parts(folder, names) | {WHOLE: names}
    return {
        part: _contents([entries[x] for x in names], classes)
        for part, names in parts.items()
    }


def _xml_files(folder):
    """The folder of the XML files, and their names without the ending."""
    for where in ("Annotations", ""):
        path = os.path.join(folder, where)
        names = list_names(path, ".xml")
        if names:
            return path, [name.removesuffix(".xml") for name in names]
    return folder, []


def _parts(folder, names):
    parts = {}
    for part in PARTS:
        path = os.path.join(folder, "ImageSets", "Main", f"{part}.txt")
        if not storage.isfile(path):
            continue
        # Two lists in one name an image twice.
        parts[part] = list(dict.fromkeys(read_text(path).split()))
        missing = [x for x in parts[part] if x not in names]
        if missing:
            raise ValueError(
                "Each image must have an XML file. Received: "
                f"{path} with {missing[0]}, which has none"
            )
    return parts


def _read_file(folder, where, name, number):
    """An image in COCO's form, and its objects: class, box, difficult."""
    path = os.path.join(where, f"{name}.xml")
    try:
        with storage.open_file(path, "rb") as file:
            root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be read as XML: {error}") from error
    file_name = _find_image(folder, where, name, root.findtext("filename"))
    if file_name is None:
        raise ValueError(
            f"The image of an XML file must be in one of {_IMAGES[:2]} or "
            f"beside it. Received: {path}, whose image is nowhere"
        )
    sides = [root.findtext(f"size/{x}") or "" for x in ("width", "height")]
    if not all(x.strip().isdigit() and int(x) for x in sides):
        sides = decode_image(os.path.join(folder, file_name)).shape[1::-1]
    image = {
        "id": number,
        "file_name": file_name,
        "width": int(sides[0]),
        "height": int(sides[1]),
    }
    objects = [
        _read_object(path, i, x) for i, x in enumerate(root.iter("object"), 1)
    ]
    return image, objects


def _find_image(folder, where, name, file_name):
    stems = [os.path.basename((file_name or "").replace("\\", "/"))]
    stems += [name + x for end in ENDINGS for x in (end, end.upper())]
    places = [os.path.join(folder, x) for x in _IMAGES] + [where]
    for place in places:
        for stem in filter(None, stems):
            path = os.path.join(place, stem)
            if storage.isfile(path):
                return os.path.relpath(path, folder)
    return None


def _read_object(path, number, element):
    name = (element.findtext("name") or "").strip()
    try:
        x1, y1, x2, y2 = (
            float(element.findtext(f"bndbox/{x}"))
            for x in ("xmin", "ymin", "xmax", "ymax")
        )
    except (TypeError, ValueError):
        name = ""
    if not name:
        raise ValueError(
            "An object must have a name and a bndbox of four numbers. "
            f"Received: object {number} in {path}"
        )
    difficult = (element.findtext("difficult") or "0").strip() == "1"
    box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
    return name, box, int(difficult)


def _contents(entries, classes):
    annotations = []
    for image, objects in entries:
        for name, box, difficult in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": classes.index(name) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": difficult,
                }
            )
    return {
        "images": [image for image, _ in entries],
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name} for i, name in enumerate(classes, start=1)
        ],
    }
