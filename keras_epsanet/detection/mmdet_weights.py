"""Weights from the names and layouts of MMDetection.

| MMDetection | here |
| --- | --- |
| `backbone.*` | the names of the authors' EPSANet, see `torch_names` |
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

import collections.abc

from keras_epsanet.detection.box_head import OUTPUT_SIZE
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.weights import torch_files
from keras_epsanet.weights.entries import Entry, assign_entries
from keras_epsanet.weights.network_entries import network_entries

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

    Args:
        detector: `RetinaNet`, `FasterRCNN` or `MaskRCNN`. The entries
            `backbone.*` are for an `EPSANetBackbone`; another one keeps its
            weights.
        path_or_state_dict: As in `keras_epsanet.load_torch_weights`, a file
            or a dictionary. A checkpoint that holds more than tensors and
            plain values is refused: save its `state_dict` alone.

    Raises:
        ValueError: If the file cannot be read, or if an entry is missing,
            unexpected or of another shape. The detector is left as it was.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    if isinstance(path_or_state_dict, collections.abc.Mapping):
        state = torch_files.to_arrays(path_or_state_dict, "the state dict")
    else:
        state = torch_files.read_checkpoint(path_or_state_dict)
    is_epsanet = isinstance(detector.backbone, EPSANetBackbone)
    state = {
        key: array
        for key, array in state.items()
        if is_epsanet or not key.startswith("backbone.")
    }
    assign_entries(detector_entries(detector), state)


def detector_entries(detector):
    """Lists a detector's variables with their names in MMDetection."""
    entries = []
    if isinstance(detector.backbone, EPSANetBackbone):
        entries += [
            entry._replace(key=f"backbone.{entry.key}")
            for entry in network_entries(detector.backbone)
        ]
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
