"""Annotation files of parts that were read in another form."""

import json
import os

from keras_epsanet.atomic import write_file
from keras_epsanet.data.coco.layouts import WHOLE


def write_parts(path, parts, part=None):
    """Writes annotation files of COCO's form.

    Args:
        path: Path of the JSON file of one part, or of all where there are no
            parts.
        parts: Dictionary from the parts to contents in COCO's form.
        part: Name of the part that is written; `None` for those that there
            are, each in a file with `_` and its name before the ending.

    Returns:
        List of the paths that were written.

    Raises:
        ValueError: If there is no such part.

    Example:

    >>> write_parts("fruit.json", {"train": {}, "val": {}})
    ['fruit_train.json', 'fruit_val.json']
    """
    path = os.fspath(path)
    if part is not None and part not in parts:
        raise ValueError(
            f"`part` must be one of {', '.join(parts)}, or None for a file of "
            f"each. Received: part={part!r}"
        )
    if part is not None:
        files = {path: part}
    else:
        stem, ending = os.path.splitext(path)
        named = [x for x in parts if x != WHOLE]
        files = {f"{stem}_{x}{ending}": x for x in named} or {path: WHOLE}
    for file, name in files.items():
        write_file(file, json.dumps(parts[name]))
    return list(files)
