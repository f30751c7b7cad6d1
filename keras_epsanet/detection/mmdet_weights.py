"""Weights from the names and layouts of MMDetection.

| MMDetection | here |
| --- | --- |
| `backbone.*` | those of torchvision's ResNets and of the publishers of their attention (`weights/network_entries.py`) |
| `neck.lateral_convs.i.conv` | `fpn_lateral_P2` … (RetinaNet from P3 on) |
| `neck.fpn_convs.i.conv` | `fpn_output_P2` … (RetinaNet from P3 on) |
| `bbox_head.cls_convs.i.conv`, `.reg_convs.i.conv` | `classification_conv1` …, `box_conv1` … |
| `bbox_head.retina_cls`, `.retina_reg` | `classification_output`, `box_output` |
| `rpn_head.rpn_conv`, `.rpn_cls`, `.rpn_reg` | `rpn_conv`, `rpn_logits_conv`, `rpn_deltas_conv` |
| `roi_head.bbox_head.shared_fcs.i` | `box_fc1`, `box_fc2` |
| `roi_head.bbox_head.fc_cls`, `.fc_reg` | `class_logits`, `box_deltas` |
| `roi_head.mask_head.convs.i.conv` | `mask_conv1` … |
| `roi_head.mask_head.upsample`, `.conv_logits` | `mask_upsample`, `mask_logits` |

Anchors, classes (background last) and box deltas have the same order in both.
Kernels `(out, in, height, width)` become `(height, width, in, out)`; the
inputs of `box_fc1` go from channel, row, column to row, column, channel.
"""  # noqa: E501

import warnings

from keras_epsanet.detection.box_head import OUTPUT_SIZE
from keras_epsanet.detection.mmdet_backbone import (
    backbone_entries,
    plan_backbone,
)
from keras_epsanet.detection.mmdet_files import read_mmdet
from keras_epsanet.weights.entries import Entry, assign_entries

_BACKBONE = "backbone."
_CLASSES = "roi_head.bbox_head.fc_cls.bias"
_RETINANET_CLASSES = "bbox_head.retina_cls.bias"
# Layers with outputs of each class: how many of them, at every place.
_LAST = {
    "bbox_head.retina_cls": 9,
    "roi_head.bbox_head.fc_cls": 1,
    "roi_head.bbox_head.fc_reg": 4,
    "roi_head.mask_head.conv_logits": 1,
}
_HEADS = {
    "classification_output": "bbox_head.retina_cls",
    "box_output": "bbox_head.retina_reg",
    "rpn_conv": "rpn_head.rpn_conv",
    "rpn_logits_conv": "rpn_head.rpn_cls",
    "rpn_deltas_conv": "rpn_head.rpn_reg",
    "box_fc1": "roi_head.bbox_head.shared_fcs.0",
    "box_fc2": "roi_head.bbox_head.shared_fcs.1",
    "class_logits": "roi_head.bbox_head.fc_cls",
    "box_deltas": "roi_head.bbox_head.fc_reg",
    "mask_upsample": "roi_head.mask_head.upsample",
    "mask_logits": "roi_head.mask_head.conv_logits",
}
for _i in range(4):
    _HEADS[f"classification_conv{_i + 1}"] = f"bbox_head.cls_convs.{_i}.conv"
    _HEADS[f"box_conv{_i + 1}"] = f"bbox_head.reg_convs.{_i}.conv"
    _HEADS[f"mask_conv{_i + 1}"] = f"roi_head.mask_head.convs.{_i}.conv"


def load_mmdet_weights(detector, path_or_state_dict):
    """Loads the weights of a detector that was trained with MMDetection.

    Of a file of another number of classes the last layers are left out, with
    a warning that says so. A detector without `class_names` gets those of
    the file.

    Args:
        detector: `RetinaNet`, `FasterRCNN` or `MaskRCNN`. The entries
            `backbone.*` are for a `ResNetBackbone`, with the attention that
            the file has or without, an `EPSANetBackbone`, or KerasHub's
            `ResNetBackbone`. An EPSANet also takes those of a ResNet that
            it computes exactly: EPSANet-101 Large takes ResNeXt-101 32x4d.
        path_or_state_dict: A file of MMDetection 2 or 3, published or of
            one's own training, or a dictionary: what such a file holds, or
            its state dict. Nothing in a file is executed.

    Raises:
        ValueError: If the file cannot be read, is caffe style, takes BGR
            images or is of MMDetection 1; if an entry is missing, unexpected
            or of another shape; or if the names of the backbone are not
            known. The detector is left as it was.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    load_checkpoint(detector, read_mmdet(path_or_state_dict))


def load_checkpoint(detector, checkpoint):
    """Loads what `read_mmdet` returned, as `load_mmdet_weights` does.

    Args:
        detector: `RetinaNet`, `FasterRCNN` or `MaskRCNN`.
        checkpoint: `Checkpoint`.

    Raises:
        ValueError: As of `load_mmdet_weights`.
    """
    state = dict(checkpoint.state)
    of_backbone = {
        key.removeprefix(_BACKBONE): state[key]
        for key in state
        if key.startswith(_BACKBONE)
    }
    plan = plan_backbone(detector.backbone, of_backbone)
    if plan is None:
        entries = detector_entries(detector, of_backbone)
    else:
        entries = _entries_of_heads(detector)
        state = {k: x for k, x in state.items() if not k.startswith(_BACKBONE)}
    found, left = _other_classes(detector, state), ()
    if found is not None:
        left = [e.key for e in entries if e.key.rpartition(".")[0] in _LAST]
    assign_entries(
        [entry for entry in entries if entry.key not in left],
        {key: array for key, array in state.items() if key not in left},
    )
    for variable, array in plan or ():
        variable.assign(array)
    if found is not None:
        warnings.warn(
            f"The last layers of {checkpoint.name} are for {found} classes, "
            f"those of the detector for {detector.num_classes}: everything "
            "else was loaded, the last layers were not.",
            stacklevel=3,
        )
        return
    names = checkpoint.class_names
    if names is None or len(names) != detector.num_classes:
        return
    if detector.class_names is None:
        detector.class_names = names
    elif list(detector.class_names) != list(names):
        warnings.warn(
            f"The last layers of {checkpoint.name} were kept for as many "
            f"classes of other names: {', '.join(names)} became "
            f"{', '.join(detector.class_names)}.",
            stacklevel=3,
        )


def count_classes(state):
    """Counts the classes of a detector of MMDetection.

    Args:
        state: Dictionary from its names to arrays.

    Returns:
        Integer, or `None` if the layer that tells is missing.

    Example:

    >>> import numpy as np
    >>> count_classes({"roi_head.bbox_head.fc_cls.bias": np.zeros(81)})
    80
    """
    if _CLASSES in state:
        return len(state[_CLASSES]) - 1  # One is the background.
    if _RETINANET_CLASSES in state:
        return len(state[_RETINANET_CLASSES]) // 9
    return None


def _other_classes(detector, state):
    """The number of classes of a file, if it is another one throughout."""
    found = count_classes(state)
    if found is None or found == detector.num_classes:
        return None
    for layer, outputs in _LAST.items():
        bias = state.get(f"{layer}.bias")
        wanted = outputs * found + (layer == _CLASSES.removesuffix(".bias"))
        if bias is not None and len(bias) != wanted:
            return None  # It is an error of the shape then.
    return found


def detector_entries(detector, state=None):
    """Lists a detector's variables with their names in MMDetection.

    Args:
        detector: `RetinaNet`, `FasterRCNN` or `MaskRCNN`.
        state: As in `backbone_entries`. If it is empty, and the names of the
            backbone are not known, those of neck and heads are listed.

    Returns:
        List of `Entry` and `Constant`.

    Raises:
        ValueError: As of `backbone_entries`.
    """
    entries = []
    try:
        for entry in backbone_entries(detector.backbone, state):
            entries.append(entry._replace(key=f"{_BACKBONE}{entry.key}"))
    except ValueError:
        if state != {}:
            raise
    return entries + _entries_of_heads(detector)


def _entries_of_heads(detector):
    entries = []
    heads = [head for head, _ in getattr(detector, "region_heads", ())]
    layers = {
        layer.name: layer
        for model in (detector, *heads)
        for layer in model.layers
    }
    for name, layer in layers.items():
        prefix = _HEADS.get(name) or _of_pyramid(name, layers)
        if not prefix:
            continue
        axes = (1, 0) if len(layer.kernel.shape) == 2 else (3, 2, 0, 1)
        window = (OUTPUT_SIZE, OUTPUT_SIZE) if name == "box_fc1" else None
        entries.append(
            Entry(f"{prefix}.weight", layer.kernel, axes, window=window)
        )
        entries.append(Entry(f"{prefix}.bias", layer.bias, (0,)))
    return entries


def _of_pyramid(name, layers):
    for ours, theirs in (
        ("fpn_lateral_P", "neck.lateral_convs"),
        ("fpn_output_P", "neck.fpn_convs"),
    ):
        if name.startswith(ours):
            finest = 2 if "fpn_output_P2" in layers else 3
            return f"{theirs}.{int(name[-1]) - finest}.conv"
    return None
