"""Where the annotations and the images of a data set in COCO's form lie."""

import os

from keras_epsanet import storage
from keras_epsanet.data.text_files import list_names

# What stands behind the names of the parts; COCO's own first.
YEARS = ("2017", "", "2014")
# Of other programs: the folder of the part that one evaluates with.
NAMES = {"val": ("val", "valid")}
PARTS = ("train", "val", "test")
# A file of all images, of which no part is known.
WHOLE = "all"


def find_parts(path):
    """Finds the annotation files of a data set, and their images.

    - COCO's own form: `annotations/instances_train2017.json`, with `2014` or
      without a year too, beside `train2017` or `images/train2017`;
    - the images of a part and its `_annotations.coco.json` in one folder
      `train`, `valid` or `test`;
    - one `.json` file, or the only one in a folder or in its
      `annotations`, with the images in `images` beside it, or beside it.

    Args:
        path: Path of the folder or of the one file.

    Returns:
        Dictionary from `"train"`, `"val"`, `"test"`, or `"all"` of one file
        for all images, to pairs of paths, the file and the folder of its
        images. It is empty if this is no data set in COCO's form.

    Example:

    >>> from keras_epsanet.data import scenes
    >>> scenes.write("clothes", num_train=2, num_val=1, image_size=64)
    >>> find_parts("clothes")["val"]
    ('clothes/annotations/instances_val.json', 'clothes/val')
    """
    path = os.fspath(path)
    if storage.isfile(path):
        if not path.endswith(".json"):
            return {}
        return {WHOLE: (path, _images_of(path))}
    if not storage.isdir(path):
        raise ValueError(
            "The data set must be a folder, or a .json file of COCO's form, "
            f"that exists. Received: {path}"
        )
    found = {part: pair for part in PARTS if (pair := _find(path, part))}
    if found:
        return found
    for folder in (path, os.path.join(path, "annotations")):
        files = list_names(folder, ".json")
        if len(files) == 1:
            file = os.path.join(folder, files[0])
            return {WHOLE: (file, _images_of(file))}
    return {}


def _find(path, part):
    for year in YEARS:
        file = os.path.join(path, "annotations", f"instances_{part}{year}.json")
        if storage.isfile(file):
            folders = [
                os.path.join(path, *above, part + year)
                for above in ((), ("images",))
            ]
            # An error names the first if there is none.
            return file, next(filter(storage.isdir, folders), folders[0])
    for name in NAMES.get(part, (part,)):
        folder = os.path.join(path, name)
        file = os.path.join(folder, "_annotations.coco.json")
        if storage.isfile(file):
            return file, folder
    return None


def _images_of(file):
    folder = os.path.dirname(storage.abspath(file))
    if os.path.basename(folder) == "annotations":
        folder = os.path.dirname(folder)
    inner = os.path.join(folder, "images")
    inner_default = os.path.join(inner, "default")
    return next(filter(storage.isdir, (inner_default, inner)), folder)
