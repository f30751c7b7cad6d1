"""MMDetection's names, shapes and results, of weights that have no file."""

import json
import pathlib
import zlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FAMILIES = ("retinanet", "faster_rcnn", "mask_rcnn")
# Height and width; detectors see it as it is, padded to 128 × 160.
SIZE = (120, 150)
# Of layers whose outputs are scores and shifts: what keeps these moderate.
_LAST = {
    "retina_cls": 0.6,
    "retina_reg": 0.5,
    "rpn_cls": 1.0,
    "rpn_reg": 0.3,
    "fc_cls": 1.5,
    "fc_reg": 0.7,
    "conv_logits": 1.0,
}


def make_state(family, backbone, counters=True):
    """The state dict of a detector, each array a function of its name."""
    return {
        name: make_array(name, shape)
        for name, shape in read_shapes(family, backbone).items()
        if counters or not name.endswith("num_batches_tracked")
    }


def read_shapes(family, backbone):
    """Names and shapes of all entries of MMDetection's detector."""
    shapes = json.loads((GOLDEN / "mmdet_shapes.json").read_text())
    return {
        **{
            f"backbone.{name}": tuple(shape)
            for name, shape in shapes["backbones"][backbone].items()
        },
        **{
            name: tuple(shape)
            for name, shape in shapes["heads"][family].items()
        },
    }


def make_array(name, shape):
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, "int64")
    random = np.random.default_rng(zlib.crc32(name.encode()))
    values = 2 * random.random(shape) - 1
    layer, kind = name.rsplit(".", 2)[-2:]
    if kind == "running_var":
        values = 1 + 0.5 * values
    elif kind in ("running_mean", "bias"):
        values = 0.1 * values
    elif len(shape) == 1:
        values = (0.15 if "bn3" in name else 1.0) + 0.1 * values
    else:
        inputs = shape[0] if "upsample" in name else int(np.prod(shape[1:]))
        values = values * np.sqrt(3 * 2 / inputs) * _LAST.get(layer, 1.0)
        if layer in _LAST:
            # Features are positive: or one class would have all the scores.
            values -= values.mean(axis=1, keepdims=True)
        if "lateral" in name or "fpn_convs.3" in name:
            values = values / 6
    return values.astype("float32")


def make_picture(height=SIZE[0], width=SIZE[1]):
    """RGB, with an edge in the middle."""
    y, x = np.mgrid[:height, :width]
    channel = np.arange(3)
    picture = 127.5 + 60 * np.sin(x[..., None] / (7 + 3 * channel) + channel)
    picture += 60 * np.cos(y[..., None] / (5 + 4 * channel) - channel)
    picture[30:80, 40:100] = 255 - picture[30:80, 40:100]
    return picture.round().clip(0, 255).astype("uint8")


def read_detections(family, backbone):
    """What MMDetection finds in the picture with these weights."""
    with np.load(GOLDEN / "mmdet_detections.npz") as file:
        prefix = f"{family}/{backbone}/"
        found = {
            name.removeprefix(prefix): file[name]
            for name in file
            if name.startswith(prefix)
        }
    if "masks" in found:
        shape = len(found["boxes"]), *SIZE
        bits = np.unpackbits(found["masks"], count=int(np.prod(shape)))
        found["masks"] = bits.reshape(shape).astype(bool)
    return found
