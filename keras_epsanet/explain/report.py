"""The parts of a page about one classifier, or about two beside each other."""

import os

import numpy as np

from keras_epsanet.classification.inference import find_class_names
from keras_epsanet.detection.pictures import resize
from keras_epsanet.explain.attention_figures import draw_attention
from keras_epsanet.explain.attention_weights import (
    SCALES,
    attention,
    find_attention,
)
from keras_epsanet.explain.class_maps import grad_cam
from keras_epsanet.explain.map_figures import draw_beside, draw_scale_maps
from keras_epsanet.explain.map_sizes import resize as resize_maps
from keras_epsanet.explain.mistakes import errors
from keras_epsanet.explain.model_inputs import run
from keras_epsanet.explain.page import Picture, Section
from keras_epsanet.explain.pixels import as_pixels
from keras_epsanet.explain.result_figures import (
    draw_ablation,
    draw_calibration,
    draw_confusion,
    draw_mistakes,
)
from keras_epsanet.explain.scale_switches import scale_ablation
from keras_epsanet.layers import PSA

MAPS_OF_SCALES = 4  # Images of which they are drawn, a large picture each.


def class_section(models, images, folder, method, layer=None):
    """What speaks for the class that each model names.

    Args:
        models: Dictionary from names to classifiers with `ClassNames`.
        images: Dictionary from names to arrays `(H, W, 3)`, from 0 to 255.
        folder: Path of the folder of the pictures.
        method, layer: As in `grad_cam`.

    Returns:
        `Section`.
    """
    row = []
    for i, (name, image) in enumerate(images.items(), start=1):
        maps = {}
        for model_name, model in models.items():
            inputs = as_model_takes(model, image)
            ((label, share),) = find_class_names(model).decode(
                run(model, inputs), top=1
            )[0]
            heat = grad_cam(model, inputs, layer, method=method)[0]
            title = f"{label} {share:.0%}"
            if len(models) > 1:
                title = f"{model_name}: {title}"
            maps[title] = resize_maps(heat, image.shape[:2])
        path = os.path.join(folder, f"class_{i}.png")
        draw_beside(image, maps, path)
        row.append(Picture(path, name))
    where = f"the layer {layer}" if layer else "the last layer with pixels"
    text = (
        "Red pixels speak for the class that is named above, blue ones do "
        f"not ({method}, {where})."
    )
    return Section("What speaks for the class", text, [row])


def as_model_takes(model, image):
    """Returns one image as a batch for a model, of a fixed size if need be.

    Args:
        model: Classifier of RGB images from 0 to 255.
        image: Array `(H, W, 3)`.

    Returns:
        Float32 array `(1, H, W, 3)`.
    """
    size = model.input_shape[1:3]
    if None not in size:
        image = resize(image, size)
    return np.asarray(image, "float32")[None]


def attention_section(models, images, batches, folder):
    """What the attention of each model weighs.

    Args:
        models, images, folder: As in `class_section`.
        batches: Dictionary from the names of the models to a list of arrays,
            images whose weights are averaged; empty lists for `images`.

    Returns:
        `Section`, without pictures of models without attention, or `None` if
        none has any.
    """
    bars, rows = [], []
    for number, (model_name, model) in enumerate(models.items(), start=1):
        if not find_attention(model):
            continue
        inputs = {k: as_model_takes(model, x) for k, x in images.items()}
        found = merge(
            attention(model, x) for x in batches[model_name] or inputs.values()
        )
        path = os.path.join(folder, f"attention_{number}.png")
        draw_attention(found, path)
        bars.append(Picture(path, model_name))
        if not find_attention(model, PSA):
            continue
        rows.append([])
        for i, name in enumerate(list(images)[:MAPS_OF_SCALES], start=1):
            path = os.path.join(folder, f"scales_{number}_{i}.png")
            pixels = as_pixels(inputs[name])[0]
            draw_scale_maps(pixels, attention(model, inputs[name]), 0, path)
            rows[-1].append(Picture(path, f"{model_name}, {name}"))
    if not bars:
        return None
    text = (
        "The mean weight of each scale in each stage; the line is where no "
        "scale is above another one. Below, where the scales of the last "
        "block of a stage are active, and their mean weights."
    )
    return Section("What attention weighs", text, [bars, *rows])


def merge(parts):
    """Returns one `Attention` of those of several batches.

    Args:
        parts: Iterable of `Attention` of one model.

    Returns:
        `Attention` without maps, whose sizes may differ.
    """
    first, *rest = parts
    layers = []
    for layer, *others in zip(first.layers, *(x.layers for x in rest)):
        arrays = {"scale_maps": None, "pixels": None}
        for key in ("scales", "channels"):
            values = [getattr(x, key) for x in (layer, *others)]
            arrays[key] = None if values[0] is None else np.concatenate(values)
        layers.append(layer._replace(**arrays))
    predicted = np.concatenate([x.predicted for x in (first, *rest)])
    return first._replace(layers=layers, predicted=predicted)


def ablation_section(models, data, folder):
    """What each scale of each stage is worth.

    Args:
        models, folder: As in `class_section`.
        data: Dictionary from the names of the models to what
            `scale_ablation` takes.

    Returns:
        `Section`, or `None` if no model has scales.
    """
    row, images = [], 0
    for number, (name, model) in enumerate(models.items(), start=1):
        if not find_attention(model, SCALES):
            continue
        found = scale_ablation(model, data[name])
        path = os.path.join(folder, f"ablation_{number}.png")
        draw_ablation(found, path)
        row.append(Picture(path, name))
        images = found.images
    if not row:
        return None
    text = (
        f"Accuracy on {images} images when one scale of a stage is switched "
        "off, in points above or below that of the whole model."
    )
    return Section("What each scale is worth", text, [row])


def error_section(models, data, folder):
    """What the models get wrong, and how certain they are.

    Args:
        models, data, folder: As in `ablation_section`.

    Returns:
        `Section`.
    """
    rows, text = [], []
    for number, (name, model) in enumerate(models.items(), start=1):
        found = errors(model, data[name])
        results = found.results
        text.append(
            f"{name}: {results.accuracy():.2%} of {len(results.labels)} "
            f"images right, calibration error "
            f"{found.calibration().error:.2%}."
        )
        paths = {
            key: os.path.join(folder, f"{key}_{number}.png")
            for key in ("confusion", "calibration", "mistakes")
        }
        draw_confusion(found, paths["confusion"])
        draw_calibration(found, paths["calibration"])
        row = [
            Picture(paths["confusion"], f"{name}: what is taken for what"),
            Picture(paths["calibration"], f"{name}: how certain, how right"),
        ]
        if len(found.mistakes):
            draw_mistakes(found, paths["mistakes"])
            caption = f"{name}: the most certain mistakes"
            row.append(Picture(paths["mistakes"], caption))
        rows.append(row)
    return Section("What is wrong", " ".join(text), rows)
