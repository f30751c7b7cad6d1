"""The part of a page about the attention of classifiers, or of a detector."""

import os

import numpy as np

from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.pictures import prepare, resize
from keras_epsanet.explain.attention_figures import draw_attention
from keras_epsanet.explain.attention_values import layers_with, merge
from keras_epsanet.explain.attention_weights import attention, find_attention
from keras_epsanet.explain.map_figures import (
    draw_pixel_maps,
    draw_scale_maps,
    fill,
)
from keras_epsanet.explain.map_sizes import resize as resize_maps
from keras_epsanet.explain.model_inputs import as_model_takes
from keras_epsanet.explain.page import Picture, Section
from keras_epsanet.explain.pixels import as_pixels

MOST_MAPS = 4  # Images of which they are drawn, a large picture each.
_TEXTS = {
    "scales": "The bars are the mean weights of the scales in each stage; the "
    "line is where no scale is above another one.",
    "channels": "The attention has no scales: the picture is the spread of its "
    "factors over the channels, layer by layer.",
    "scale_maps": "The maps below show where the scales of the last block of a "
    "stage are active; above them are their mean weights.",
    "pixels": "The maps of attention to pixels show its factors in the last "
    "layer of a stage: red pixels have the largest, and the range is above.",
}


def attention_section(models, images, folder, batches=None):
    """What the attention of each model weighs.

    Args:
        models: Dictionary from names to classifiers, or to a `Detector`.
        images: Dictionary from names to arrays `(H, W, 3)`, from 0 to 255.
        folder: Path of the folder of the pictures.
        batches: Dictionary from the names of classifiers to a list of arrays,
            images whose weights are averaged; those of `images` where it has
            none.

    Returns:
        `Section`, without pictures of models without attention, or `None` if
        none has any.
    """
    means, maps, drawn = [], [], set()
    for number, (name, model) in enumerate(models.items(), start=1):
        if not find_attention(model):
            continue
        given = (batches or {}).get(name)
        seen = {
            key: attention(model, as_model_takes(model, images[key]))
            for key in list(images)[: MOST_MAPS if given else None]
        }
        found = merge(
            (attention(model, x) for x in given) if given else seen.values()
        )
        kinds = [x for x in ("scales", "channels") if layers_with(found, x)]
        if kinds:
            path = os.path.join(folder, f"attention_{number}.png")
            draw_attention(found, path)
            means.append(Picture(path, name))
            drawn.add(kinds[0])
        for key in ("scale_maps", "pixels"):
            if any(layers_with(x, key) for x in seen.values()):
                kind = key.replace("scale_maps", "scales")
                path = os.path.join(folder, f"{kind}_{number}")
                row = _draw_maps(key, model, images, seen, path)
                maps.append([Picture(x, f"{name}, {y}") for x, y in row])
                drawn.add(key)
    if not drawn:
        return None
    text = " ".join(text for key, text in _TEXTS.items() if key in drawn)
    rows = [row for row in (means, *maps) if row]
    return Section("What attention weighs", text, rows)


def _draw_maps(key, model, images, seen, path):
    """Draws maps of the first images; yields their files and their names."""
    draw = {"scale_maps": draw_scale_maps, "pixels": draw_pixel_maps}[key]
    for i, name in enumerate(list(seen)[:MOST_MAPS], start=1):
        pixels, found = _as_shown(model, images[name], seen[name], key)
        draw(pixels, found, 0, f"{path}_{i}.png")
        yield f"{path}_{i}.png", name


def _as_shown(model, image, found, key):
    """An image at the size that a model sees, and its maps without padding."""
    if not isinstance(model, Detector):
        return as_pixels(as_model_takes(model, image))[0], found
    prepared = prepare(image, model.image_size, model.input_shape[1:3])
    height, width = prepared.size
    # The last one of each stage: the others are not drawn.
    layers = {x.stage: x for x in layers_with(found, key)}
    for stage, layer in layers.items():
        maps = fill(getattr(layer, key))
        maps = resize_maps(maps, prepared.inputs.shape[:2])
        maps = maps[..., :height, :width]
        layers[stage] = layer._replace(**{key: maps})
    pixels = np.round(resize(image, prepared.size)).astype("uint8")
    return pixels, found._replace(layers=list(layers.values()))
