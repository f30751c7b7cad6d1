"""The parts of a page about one classifier, or about two beside each other."""

import os

from keras_epsanet.classification.inference import find_class_names
from keras_epsanet.explain.attention_weights import SCALES, find_attention
from keras_epsanet.explain.class_maps import grad_cam
from keras_epsanet.explain.map_figures import draw_beside
from keras_epsanet.explain.map_sizes import resize as resize_maps
from keras_epsanet.explain.mistakes import errors
from keras_epsanet.explain.model_inputs import as_model_takes, run
from keras_epsanet.explain.page import Picture, Section
from keras_epsanet.explain.result_figures import (
    draw_ablation,
    draw_calibration,
    draw_confusion,
    draw_mistakes,
)
from keras_epsanet.explain.scale_switches import scale_ablation


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
