"""The images of a page of explanations: some of those that have labels."""

import itertools

import numpy as np

from keras_epsanet.classification import evaluation
from keras_epsanet.classification.inference import find_class_names


def open_data(args, models):
    """Opens the images that have labels.

    Args:
        args: What `parse` returned.
        models: What `load_models` returned.

    Returns:
        What `evaluation.open_images` returns, or `None` if there are images
        and no `--data`.

    Raises:
        ValueError: If there are neither, and a model does not have the
            classes of the embedded images.
    """
    if args.data is None and args.images:
        return None
    if args.data is None:
        for model in models.values():
            names = find_class_names(model).names
            evaluation.check_embedded(names, "IMAGE or --data")
    return evaluation.open_images(args.data)


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
