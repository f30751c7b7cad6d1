"""Shows why a classifier says what it says, on one page."""

import argparse
import itertools
import os

import numpy as np

from keras_epsanet import storage
from keras_epsanet.classification import evaluation, pictures
from keras_epsanet.commands.options import MODEL, positive
from keras_epsanet.commands.reporting import (
    SKIPPED,
    decoded,
    end_if_no_files,
    end_if_skipped,
    one_line_errors,
    usable,
)
from keras_epsanet.commands.trained_models import load_classifier
from keras_epsanet.data.file_names import printable
from keras_epsanet.data.image_files import list_files
from keras_epsanet.explain import report
from keras_epsanet.explain.class_maps import NAMES
from keras_epsanet.explain.layer_search import find_layer
from keras_epsanet.explain.page import write_page

BATCH_SIZE = 32


def main(arguments=None, program="explain"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if a model or the images cannot be used,
            or images were skipped.
    """
    args = parse(arguments, program)
    with one_line_errors(program):
        explain(args, program)


def parse(arguments=None, program="explain"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=__doc__,
        usage="%(prog)s [options] [IMAGE...]",
        epilog=SKIPPED,
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="image file, or folder with images at any depth; without any, "
        "some of --data are explained",
    )
    for name, default, what in (
        (
            "model",
            MODEL,
            "trained classifier, or the folder of its training "
            f"(default: {MODEL})",
        ),
        ("compare", None, "another one, which is shown beside it"),
        (
            "data",
            None,
            "folder of labeled images as of `evaluate`, to look for mistakes "
            "(default: none with IMAGE, otherwise the embedded ones)",
        ),
    ):
        metavar = "PATH" if name == "data" else "FILE"
        parser.add_argument(
            f"--{name}", metavar=metavar, default=default, help=what
        )
    _add_how(parser)
    return parser.parse_args(arguments)


def _add_how(parser):
    """Adds the options of how it is explained."""
    parser.add_argument(
        "--method",
        choices=NAMES,
        default=NAMES[0],
        help=f"how pixels are weighed (default: {NAMES[0]})",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer whose pixels are weighed (default: the last one)",
    )
    for name, default, what in (
        ("max-images", 12, "most images that are explained"),
        ("ablation-images", 200, "images of --data to switch scales off on"),
    ):
        parser.add_argument(
            f"--{name}",
            type=positive(name.replace("-", "_")),
            metavar="N",
            default=default,
            help=f"{what} (default: {default})",
        )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/explained",
        help="folder for index.html and its pictures (default: runs/explained)",
    )


def explain(args, program):
    """Writes the page and its pictures.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    pictures.import_pyplot()
    files, skipped = list_files(args.images), []
    if args.images:
        end_if_no_files(program, files, args.images)
    models = load_models(args, program)
    has_data = args.data is not None or not files
    data = evaluation.open_images(args.data) if has_data else None
    if files:
        chosen = decoded(files[: args.max_images], skipped, program)
        images = {printable(path): np.asarray(x) for path, x in chosen}
    else:
        images = first_images(data, args.max_images)
    if images:
        storage.makedirs(args.output, exist_ok=True)
        sections = make_sections(args, models, images, data)
        path = os.path.join(args.output, "index.html")
        write_page(path, f"What decides: {', '.join(models)}", sections)
        print(f"Saved {path}")
    end_if_skipped(program, files, skipped)


def load_models(args, program):
    """Loads the models, by names that differ.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.

    Returns:
        Dictionary from names to classifiers.

    Raises:
        SystemExit: With a message if a file cannot be used, or has no layer
            `--layer`.
    """
    paths = [x for x in (args.model, args.compare) if x is not None]
    models = {}
    for path in paths:
        with usable(program, path):
            model = load_classifier(path)
            find_layer(model, args.layer)
        models[_short_name(path, paths)] = model
    return models


def _short_name(path, paths):
    """The name of a file, or of the folder of a training."""

    def shorten(path):
        folder, name = os.path.split(storage.abspath(path))
        stem = os.path.splitext(name)[0]
        return os.path.basename(folder) if name == "model.keras" else stem

    names = [shorten(x) for x in paths]
    name = shorten(path)
    return printable(name if names.count(name) == 1 else path)


def first_images(data, number):
    """Returns the first images of each class in turn.

    Args:
        data: What `evaluation.open_images` returned.
        number: Integer, the most images.

    Returns:
        Dictionary from what they show to arrays `(H, W, 3)`.
    """
    by_class = [[] for _ in data.class_names]
    each = -(-number // len(by_class))
    for image, label in data.as_numpy_iterator():
        if len(by_class[label]) < each:
            image = np.repeat(image, 3 // image.shape[-1], axis=-1)
            by_class[label].append((int(label), image))
        if all(len(images) == each for images in by_class):
            break
    turns = itertools.chain(*itertools.zip_longest(*by_class))
    chosen = [pair for pair in turns if pair is not None][:number]
    return {
        f"{i}: {data.class_names[label]}": image
        for i, (label, image) in enumerate(chosen, start=1)
    }


def make_sections(args, models, images, data):
    """Makes the pictures of all sections.

    Args:
        args: What `parse` returned.
        models: What `load_models` returned.
        images: Dictionary from names to arrays `(H, W, 3)`.
        data: What `evaluation.open_images` returned, or `None`.

    Returns:
        List of `Section`.
    """
    folder, some = args.output, {name: [] for name in models}
    if data is not None:
        number = -(-args.ablation_images // BATCH_SIZE)
        for name, model in models.items():
            batches = labeled(model, data)
            some[name] = list(itertools.islice(batches, number))
    print(f"Explaining {len(images)} images", flush=True)
    sections = [
        report.class_section(models, images, folder, args.method, args.layer),
        report.attention_section(
            models,
            images,
            {name: [x for x, _ in some[name]] for name in models},
            folder,
        ),
    ]
    if data is not None:
        print("Switching scales off and looking for mistakes", flush=True)
        every = {name: labeled(model, data) for name, model in models.items()}
        sections += [
            report.ablation_section(models, some, folder),
            report.error_section(models, every, folder),
        ]
    return [section for section in sections if section is not None]


def labeled(model, data):
    """Yields batches of images as a model takes them, and their classes.

    Args:
        model: Classifier.
        data: What `evaluation.open_images` returned.

    Yields:
        Pairs of a float32 array `(N, H, W, 3)` and an integer array `(N,)`.
    """
    for labels, batch in evaluation.labeled_batches(model, data, BATCH_SIZE):
        yield batch, np.array(labels)
