"""The card of a published model: `README.md` as the hubs read it."""

import csv
import json
import os
import re

from keras_epsanet import storage
from keras_epsanet.atomic import sha256, write_file

CARD, SUMS = "README.md", "SHA256SUMS"
_LICENSE = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_KINDS = {
    "keras-hub": """\
import keras_epsanet  # Before the model is loaded.
import keras_hub

model = keras_hub.models.ImageClassifier.from_preset("{place}")
# RGB images with values from 0 to 255, (N, H, W, 3)
predictions = model.predict(images)
classes = keras_epsanet.hub.read_class_names("{place}")
""",
    "timm": """\
from keras_epsanet.hub import load_timm, read_timm_config

# For RGB images with values from 0 to 255, (N, H, W, 3), resized before
model = load_timm("{place}", include_preprocessing=True)
predictions = model.predict(images)
classes = read_timm_config("{place}")["label_names"]
""",
    "keras": """\
import keras
import keras_epsanet  # Before the model is loaded.

model = keras.saving.load_model("model.keras")
# RGB images with values from 0 to 255, (N, H, W, 3)
predictions = model.predict(images)
""",
}
_NAMES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy"}
# Rows of a table that is still read.
_MOST_CLASSES = 20


def model_card(run, folder, license, name=None, repository=None, dataset=None):
    """Writes the card of a model, with the numbers of its training.

    Args:
        run: Path of the folder of a training of a classifier, with
            `results.json`, `images.json` and `recipe.json`.
        folder: Path of the folder that is published: a preset of KerasHub,
            a folder of timm, or one with `model.keras`. `README.md` and
            `SHA256SUMS` are written there.
        license: String, the license of the weights, as the hub calls it:
            `"mit"`, `"apache-2.0"`, `"cc-by-nc-4.0"`, `"other"`.
        name: String, the title; `None` for the name of the repository, or
            of the network.
        repository: String, `"USER/NAME"`, where it will be; `None` leaves
            that open.
        dataset: String, what it was trained on; `None` for the last part of
            the path that the training had its images from.

    Returns:
        Path of `README.md`.

    Raises:
        ValueError: If the training is not finished, the folder holds no
            model, or the license is none.
    """
    if not _LICENSE.fullmatch(license):
        raise ValueError(
            "`license` must be an identifier of the hub, such as mit, "
            "apache-2.0, cc-by-nc-4.0 or other. "
            f"Received: license={license!r}"
        )
    results, images = _read_run(run)
    kind = _kind_of(folder)
    place = f"hf://{repository}" if repository else "hf://USER/NAME"
    name = name or (repository or results["recipe"]["model"]).split("/")[-1]
    dataset = dataset or _last_part(images["source"])
    sums = _sums(folder)
    text = "\n".join(
        [
            _header(license, kind, name, dataset, results),
            _introduction(name, dataset, results, images),
            _use(kind, place),
            _results(run, dataset, results, images),
            _training(run, results),
            _files(sums),
            _SOURCES.format(license=license),
        ]
    )
    lines = [f"{digits}  {file}\n" for file, (_, digits) in sums.items()]
    write_file(os.path.join(folder, SUMS), "".join(lines))
    path = os.path.join(folder, CARD)
    write_file(path, text)
    return path


def _read_run(run):
    """Returns `results.json` and `images.json` of a training."""
    contents = []
    for name in ("results.json", "images.json"):
        path = os.path.join(run, name)
        try:
            with storage.open_file(path, encoding="utf-8") as file:
                contents.append(json.load(file))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(
                "`run` must be the folder of a finished training of a "
                f"classifier, with {name}. Received: run={run}"
            ) from error
    if not isinstance(contents[0], dict) or "top1" not in contents[0]:
        raise ValueError(
            f"{run}/results.json has no top1, and is none of a classifier. "
            f"Received: run={run}"
        )
    return contents


def _kind_of(folder):
    """Returns the library that a folder is for."""
    path = os.path.join(folder, "config.json")
    if storage.isfile(path):
        with storage.open_file(path, encoding="utf-8") as file:
            config = json.load(file)
        for key, kind in (
            ("registered_name", "keras-hub"),
            ("architecture", "timm"),
        ):
            if key in config:
                return kind
    if storage.isfile(os.path.join(folder, "model.keras")):
        return "keras"
    raise ValueError(
        "`folder` must hold a preset of KerasHub, a model of timm or "
        f"model.keras. Received: folder={folder}"
    )


def _sums(folder):
    """Returns sizes and SHA-256 by the names of the files in a folder."""
    paths = [
        os.path.relpath(os.path.join(parent, file), folder).replace("\\", "/")
        for parent, _, files in storage.walk(folder)
        for file in files
    ]
    return {
        path: (
            storage.getsize(os.path.join(folder, path)),
            sha256(os.path.join(folder, path)),
        )
        for path in sorted(paths)
        if path not in (CARD, SUMS) and not path.startswith(".")
    }


def _header(license, kind, name, dataset, results):
    """The YAML that a hub reads; JSON's strings are strings of YAML."""
    metrics = [
        line
        for key, text in _NAMES.items()
        if key in results
        for line in (
            "    - type: accuracy",
            f"      name: {json.dumps(text)}",
            f"      value: {results[key]:.6f}",
        )
    ]
    # None of the networks that the training has is one of timm's own.
    library = "safetensors" if kind == "timm" else kind
    tags = ["image-classification", library, results["recipe"]["model"]]
    return "\n".join(
        [
            "---",
            f"license: {license}",
            "library_name: keras",
            "pipeline_tag: image-classification",
            "tags:",
            *(f"- {json.dumps(tag)}" for tag in dict.fromkeys(tags)),
            "metrics:",
            "- accuracy",
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {json.dumps(dataset)}",
            '      type: "image-folder"',
            "    metrics:",
            *metrics,
            "---",
            "",
        ]
    )


def _introduction(name, dataset, results, images):
    recipe = results["recipe"]
    size = recipe["image_size"]
    return (
        f"# {name}\n\n"
        f"An image classifier, `{recipe['model']}` at {size}×{size} pixels, "
        f"trained on {dataset} with keras_epsanet: "
        f"{len(images['class_names'])} classes, "
        f"{results['top1']:.2%} top-1 accuracy on held-out images.\n"
    )


def _use(kind, place):
    return (
        "## Use\n\nIn a checkout of keras_epsanet:\n\n```sh\n"
        'pip install ".[hub]"\n```\n\n```python\n'
        + _KINDS[kind].format(place=place)
        + "```\n"
    )


def _results(run, dataset, results, images):
    rows = [
        f"| {_NAMES[key]} | {results[key]:.2%} |"
        for key in _NAMES
        if key in results
    ]
    text = (
        f"## Results\n\nOn {images['held_out']:,} images of {dataset} that "
        "were held out, by the saved model. The epoch was chosen by the same "
        "images; nothing else was measured.\n\n| measure | value |\n"
        "| --- | --- |\n" + "\n".join(rows) + "\n"
    )
    path = os.path.join(run, "classes.csv")
    if len(images["class_names"]) > _MOST_CLASSES or not storage.isfile(path):
        return text
    with storage.open_file(path, encoding="utf-8", newline="") as file:
        classes = list(csv.DictReader(file))
    rows = [
        f"| {_cell(row['class'])} | {row['right']} of {row['images']} "
        f"| {_cell(row['taken_for']) or '–'} |"
        for row in classes
    ]
    return (
        f"{text}\n| class | right | most often taken for |\n"
        "| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


def _last_part(path):
    """What a card says of a path on the machine of the training."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def _training(run, results):
    recipe = dict(results["recipe"])
    # The path of a file on the machine of the training.
    recipe["teacher"] = recipe.get("teacher") and "another classifier"
    path = os.path.join(run, "initialized_from.txt")
    if storage.isfile(path):
        with storage.open_file(path, encoding="utf-8") as file:
            source, *others = file.read().strip().splitlines()
        recipe["started from"] = "\n".join([_last_part(source), *others])
    rows = [
        f"| {key} | {_cell(str(value))} |"
        for key, value in recipe.items()
        if value is not None
    ]
    return (
        f"## Training\n\nThe weights are those after epoch "
        f"{results['best_epoch']}, the best of {results['epochs']}.\n\n"
        "| recipe | |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


def _files(sums):
    rows = [
        f"| `{file}` | {size:,} | `{digits}` |"
        for file, (size, digits) in sums.items()
    ]
    return (
        "## Files\n\n`sha256sum --check SHA256SUMS` compares them.\n\n"
        "| file | bytes | SHA-256 |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


_SOURCES = """\
## License and source

The license of the weights is `{license}`. The network is that of Zhang et al.,
[EPSANet](https://arxiv.org/abs/2105.14447), 2021.
"""
