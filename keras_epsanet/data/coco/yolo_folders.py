"""What folders in YOLO's form hold: names of classes, and images of parts."""

import os

from keras_epsanet import storage
from keras_epsanet.data.coco.layouts import NAMES, PARTS, WHOLE
from keras_epsanet.data.image_files import list_files
from keras_epsanet.data.text_files import list_names, read_text

# What describes such a folder, unless another .yaml file has names.
_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def is_yolo(folder):
    """Whether a folder is in YOLO's form.

    Args:
        folder: Path.

    Raises:
        ImportError: If there are .yaml files to choose from, and PyYAML is
            not installed.
    """
    return bool(_yaml_file(folder)) or storage.isfile(_text_file(folder))


def describe(folder):
    """Reads what a folder in YOLO's form holds.

    Args:
        folder: Path.

    Returns:
        The names of the classes, a list of strings, and a dictionary from the
        parts to lists of the paths of their images; of `"all"` where there
        are no parts.

    Raises:
        ImportError: If there is a .yaml file, and PyYAML is not installed.
        ValueError: If it is no such folder, or what describes it has
            mistakes.
    """
    folder = os.fspath(folder)
    path = _yaml_file(folder)
    if path is not None:
        return _read_yaml(folder, path)
    path = _text_file(folder)
    if not storage.isfile(path):
        raise ValueError(
            "`folder` must have a .yaml file or classes.txt with the names of "
            f"the classes. Received: folder={folder}"
        )
    names = _lines(path)
    parts = {part: _part(folder, part) for part in PARTS}
    parts = {part: files for part, files in parts.items() if files}
    return names, parts or {WHOLE: list_files([folder])}


def _yaml_file(folder):
    """The file that describes a folder, or one that has mistakes, or `None`."""
    files = [
        os.path.join(folder, name)
        for name in list_names(folder, (".yaml", ".yml"))
    ]
    usual = [os.path.join(folder, name) for name in _YAML_NAMES]
    chosen = [path for path in usual if path in files]
    # Trainings leave others, such as Ultralytics' args.yaml.
    chosen = chosen or list(filter(_has_names, files))
    if not chosen and not storage.isfile(_text_file(folder)):
        chosen = files
    return chosen[0] if chosen else None


def _text_file(folder):
    return os.path.join(folder, "classes.txt")


def _has_names(path):
    try:
        contents = _load_yaml(path)
    except ValueError:
        return False
    return isinstance(contents, dict) and bool(contents.get("names"))


def _load_yaml(path):
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "YOLO's .yaml files need PyYAML: pip install pyyaml"
        ) from error
    try:
        with storage.open_file(path, encoding="utf-8-sig") as file:
            return yaml.safe_load(file)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error


def _read_yaml(folder, path):
    contents = _load_yaml(path)
    names = contents.get("names") if isinstance(contents, dict) else None
    if isinstance(names, dict):
        names = [names.get(i) for i in range(len(names))]
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(x, (str, int, float)) for x in names)
    ):
        raise ValueError(
            "A .yaml file must have `names`, a list or a dictionary from "
            f"numbers from 0 on. Received: {path} with names={names}"
        )
    place = contents.get("path")
    if isinstance(place, (list, dict)):
        raise ValueError(
            "`path` of a .yaml file must be a string. "
            f"Received: {path} with path={place}"
        )
    base = os.path.join(folder, str(place or ""))
    parts = {}
    for part in PARTS:
        listed = _as_list(path, part, contents.get(part))
        files = [x for y in listed for x in _listed(folder, base, y, path)]
        files = files or _part(folder, part)
        if files:
            parts[part] = files
    return [str(x) for x in names], parts or {WHOLE: list_files([folder])}


def _as_list(path, part, value):
    """What a .yaml file says where the images of a part are."""
    values = (
        value if isinstance(value, list) else ["" if value is None else value]
    )
    if not all(isinstance(x, str) for x in values):
        raise ValueError(
            f"`{part}` of a .yaml file must be a string or a list of strings. "
            f"Received: {path} with {part}={value}"
        )
    return [x for x in values if x]


def _listed(folder, base, value, path):
    """Image files of a folder or of a list, wherever that is counted from."""
    # Some programs write `../train/images` for `train/images`.
    inner = os.path.join(folder, value.removeprefix("../"))
    for place in (
        os.path.join(base, value),
        os.path.join(folder, value),
        inner,
    ):
        if storage.isdir(place):
            return list_files([place])
        if storage.isfile(place):
            root = os.path.dirname(place)
            paths = [os.path.join(root, x) for x in _lines(place)]
            return [storage.normpath(x) for x in paths]
    raise ValueError(
        f"A .yaml file must name folders that there are. Received: {path} "
        f"with {value}, which is not there"
    )


def _lines(path):
    lines = map(str.strip, read_text(path).split("\n"))
    return [line for line in lines if line]


def _part(folder, part):
    for name in NAMES.get(part, (part,)):
        for inner in (
            os.path.join("images", name),
            os.path.join(name, "images"),
        ):
            path = os.path.join(folder, inner)
            if storage.isdir(path):
                return list_files([path])
    return []
