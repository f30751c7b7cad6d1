"""Times this package's Mask R-CNN against torchvision's, by ratios.

    python benchmarks/detection_torchvision.py
    python benchmarks/detection_torchvision.py --mode training --objects 100
    python benchmarks/detection_torchvision.py --mode training --memory ours

Both are on a ResNet-50 with an FPN, with the same random weights, for 80
classes: the stem and the first stage are frozen, BatchNorms keep their
statistics, ROIAlign takes 2×2 samples a bin. They run in one process, in
turns, TensorFlow and PyTorch on all cores; only ratios of neighboring runs are
printed.

Detection is all from a picture of 800×1333 pixels to boxes and masks of its
size: `detect` of this package, and the call of torchvision's model, which
resizes and normalizes, too. How many objects each finds is printed; scores of
random weights are spread by larger weights, so that there are some. A training
step is one of SGD with momentum, whose rate is 0. The mask head sees the
proposals that are on objects, at most 128 in an image, of which there are more
with more `--objects`.

`--memory ours` and `--memory torchvision` print the resident size that one of
them reaches, less that before its first run. torchvision is no dependency of
this package: the script needs one with its compiled operators.
docs/performance.md has what was measured.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import torch
from detection import CLASSES, add_planes, make_batch, make_step, print_memory
from latency import format_ratios, measure_ratios
from memory import largest_size

from keras_epsanet import detection
from keras_epsanet.detection.mmdet_weights import detector_entries
from keras_epsanet.models.preprocessing import preprocess_input
from keras_epsanet.models.resnet_backbone import ResNetBackbone

# MMDetection's beginnings of names, and torchvision's.
NAMES = {
    "backbone.": "backbone.body.",
    "neck.lateral_convs.{}.conv": "backbone.fpn.inner_blocks.{}.0",
    "neck.fpn_convs.{}.conv": "backbone.fpn.layer_blocks.{}.0",
    "rpn_head.rpn_conv": "rpn.head.conv.0.0",
    "rpn_head.rpn_cls": "rpn.head.cls_logits",
    "rpn_head.rpn_reg": "rpn.head.bbox_pred",
    "roi_head.bbox_head.shared_fcs.0": "roi_heads.box_head.fc6",
    "roi_head.bbox_head.shared_fcs.1": "roi_heads.box_head.fc7",
    "roi_head.bbox_head.fc_cls": "roi_heads.box_predictor.cls_score",
    "roi_head.bbox_head.fc_reg": "roi_heads.box_predictor.bbox_pred",
    "roi_head.mask_head.convs.{}.conv": "roi_heads.mask_head.{}.0",
    "roi_head.mask_head.upsample": "roi_heads.mask_predictor.conv5_mask",
    "roi_head.mask_head.conv_logits": (
        "roi_heads.mask_predictor.mask_fcn_logits"
    ),
}
NAMES = {
    ours.format(i): theirs.format(i)
    for ours, theirs in NAMES.items()
    for i in range(4)
}
# Standard deviations relative to He's: the ends of blocks small, so that
# features stay moderate; boxes near their anchors; scores far apart.
SPREADS = {"bn3": 0.2, "rpn_reg": 0.1, "fc_reg": 0.5, "fc_cls": 3}


def make_state(detector):
    """Random weights with MMDetection's names."""
    random = np.random.default_rng(0)
    state = {}
    for entry in detector_entries(detector):
        shape, (layer, kind) = entry.torch_shape, entry.key.split(".")[-2:]
        spread = SPREADS.get(layer, 1)
        if len(shape) > 1:
            deviation = spread * np.sqrt(2 / np.prod(shape[1:]))
            array = random.normal(0, deviation, shape)
        elif kind in ("weight", "running_var"):
            array = np.full(shape, spread if kind == "weight" else 1)
        else:
            array = np.zeros(shape)
        state[entry.key] = array.astype("float32")
    return state


def to_torchvision(state):
    """The same weights with torchvision's names and order of classes."""
    found = {}
    for key, array in state.items():
        name = next(name for name in NAMES if key.startswith(name))
        if "fc_cls" in key:  # The background is the first.
            array = np.roll(array, 1, axis=0)
        elif "fc_reg" in key or "conv_logits" in key:
            rows = len(array) // CLASSES
            array = np.concatenate((np.zeros_like(array[:rows]), array))
        found[NAMES[name] + key.removeprefix(name)] = torch.tensor(array)
    return found


def build_ours(size):
    backbone = ResNetBackbone.from_variant(
        "resnet50", freeze_stages=1, norm_eval=True
    )
    detector = detection.MaskRCNN(
        backbone, CLASSES, sampling_ratio=2, image_size=(min(size), max(size))
    )
    detector.compile(keras.optimizers.SGD(0.0, momentum=0.9))
    return detector


def build_theirs(size, layout):
    from torchvision.models.detection import MaskRCNN, backbone_utils
    from torchvision.ops import FrozenBatchNorm2d

    backbone = backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=3,
    )
    model = MaskRCNN(
        backbone, CLASSES + 1, min_size=min(size), max_size=max(size)
    )
    torch.set_num_threads(os.cpu_count())
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    return model


def runs_of_ours(model, picture, batch):
    return {
        "detection": lambda: len(model.detect(picture)["scores"]),
        "training": make_step("mask_rcnn", model, batch),
    }


def runs_of_theirs(model, picture, batch, layout):
    image = torch.tensor(picture).permute(2, 0, 1) / 255
    batch = add_planes(batch)
    targets = [
        {
            "boxes": torch.tensor(boxes),
            "labels": torch.tensor(labels) + 1,
            "masks": torch.tensor(masks),
        }
        for boxes, labels, masks in zip(
            batch["boxes"], batch["labels"], batch["masks"]
        )
    ]
    optimizer = torch.optim.SGD(
        [x for x in model.parameters() if x.requires_grad], 0.0, momentum=0.9
    )

    def detect():
        model.eval()
        with torch.inference_mode():
            return len(model([image])[0]["scores"])

    def train():
        model.train()
        optimizer.zero_grad()
        loss = sum(model([image] * len(targets), targets).values())
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"detection": detect, "training": train}


def make_runs(which, args):
    """Functions of a detector: one detects, one trains."""
    size = args.image_size
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (*size, 3), "uint8")
    batch = make_batch(args.batch_size, size, args.objects)
    ours = build_ours(size)
    state = make_state(ours)
    if which == "ours":
        detection.load_mmdet_weights(ours, state)
        images = preprocess_input(picture.astype("float32"), "channels_last")
        pads = [(0, -x % 32) for x in size]
        images = np.pad(images, [*pads, (0, 0)])
        images = np.repeat(images[None], args.batch_size, axis=0)
        return runs_of_ours(ours, picture, {**batch, "images": images})
    theirs = build_theirs(size, args.layout)
    theirs.load_state_dict(to_torchvision(state))
    return runs_of_theirs(theirs, picture, batch, args.layout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode", choices=("detection", "training", "both"), default="both"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(800, 1333),
        metavar=("HEIGHT", "WIDTH"),
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, help="of a training step"
    )
    parser.add_argument("--objects", type=int, default=8, metavar="N")
    parser.add_argument(
        "--layout",
        choices=("channels_last", "default"),
        default="channels_last",
        help="memory layout of PyTorch",
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--memory", choices=("ours", "torchvision"))
    args = parser.parse_args()
    if args.memory and args.mode == "both":
        parser.error("--memory needs --mode detection or --mode training")
    modes = [x for x in ("detection", "training") if args.mode in (x, "both")]
    if args.memory:
        run = make_runs(args.memory, args)[args.mode]
        print_memory(run, before=largest_size())
        return
    ours, theirs = (make_runs(which, args) for which in ("ours", "torchvision"))
    print(
        f"Mask R-CNN on ResNet-50, ours / torchvision's ({args.layout}), "
        f"{'×'.join(map(str, args.image_size))}"
    )
    for mode in modes:
        pair = [runs[mode] for runs in (ours, theirs)]
        if mode == "detection":
            print("objects found", *(run() for run in pair))
        ratios = measure_ratios(pair, args.repeats)
        print(f"{mode:9}  {format_ratios(ratios)}", flush=True)


if __name__ == "__main__":
    main()
