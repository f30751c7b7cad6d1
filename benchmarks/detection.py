"""Times training steps of detectors against each other, by ratios.

    python benchmarks/detection.py
    python benchmarks/detection.py --detector mask_rcnn --against retinanet

The first compares this package's RetinaNet with KerasCV's, which gets four
convolutions in its heads as well; both on the same kind of backbone. The
second takes one of this package's detectors. All run in one process, in turns,
on TensorFlow, with random weights that stay as they are, random images and
boxes, and only ratios of neighboring steps are printed.

    python benchmarks/detection.py --detector mask_rcnn --memory \
        --image-size 800 1344 --batch-size 1

prints the resident size that its training reaches, less that before it was
built. For CPUs: what a GPU holds is not resident.

Mask R-CNN draws the proposals that are on objects, up to 128 in an image: the
more objects, the longer its step (`--objects 100`: all 128). Its masks are
cropped to their objects, as `keras_epsanet.data.coco.load` has them;

    python benchmarks/detection.py --detector mask_rcnn --against planes

compares them with planes of the image's size, and `--against planes --memory`
prints what these take.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf
from latency import format_ratios, measure_ratios
from memory import largest_size

from keras_epsanet import EPSANetBackbone, detection
from keras_epsanet.data.coco.masks import SIDE

CLASSES = 80
DETECTORS = {
    "retinanet": detection.RetinaNet,
    "faster_rcnn": detection.FasterRCNN,
    "mask_rcnn": detection.MaskRCNN,
    "planes": detection.MaskRCNN,
}


def build(name, variant, image_size):
    backbone = EPSANetBackbone.from_variant(
        variant,
        image_shape=(*image_size, 3),
        freeze_stages=1,
        norm_eval=True,
    )
    optimizer = keras.optimizers.SGD(0.0, momentum=0.9, clipnorm=10)
    if name == "keras_cv":
        model = build_keras_cv(backbone)
        model.compile(
            optimizer=optimizer,
            classification_loss="focal",
            box_loss="smoothl1",
        )
    else:
        model = DETECTORS[name](backbone, CLASSES)
        model.compile(optimizer)
    return model


def build_keras_cv(backbone):
    import keras_cv

    PredictionHead = keras_cv.models.retinanet.PredictionHead
    return keras_cv.models.RetinaNet(
        backbone,
        CLASSES,
        "xyxy",
        classification_head=PredictionHead(
            output_filters=9 * CLASSES,
            bias_initializer=keras.initializers.Constant(-np.log(99)),
            num_conv_layers=4,
        ),
        box_head=PredictionHead(
            output_filters=9 * 4, bias_initializer="zeros", num_conv_layers=4
        ),
    )


def make_batch(batch_size, image_size, objects):
    random = np.random.default_rng(0)
    half = min(image_size) / 2
    corners = random.uniform(0, half, (batch_size, objects, 2))
    sides = random.uniform(16, half, (batch_size, objects, 2))
    shape = (batch_size, *image_size, 3)
    return {
        "images": random.normal(size=shape).astype("float32"),
        "boxes": np.concatenate((corners, corners + sides), -1).astype(
            "float32"
        ),
        "labels": random.integers(CLASSES, size=(batch_size, objects)),
    }


def add_planes(batch):
    """Masks of the image's size: the upper halves of the boxes."""
    planes = np.zeros(
        (*batch["labels"].shape, *batch["images"].shape[1:3]), "uint8"
    )
    for plane, (left, top, right, bottom) in zip(
        planes.reshape(-1, *planes.shape[2:]),
        batch["boxes"].reshape(-1, 4).astype(int),
    ):
        plane[top : (top + bottom) // 2, left:right] = 1
    return {**batch, "masks": planes}


def add_crops(batch):
    """The same, cropped, in as many rows as `coco.load` makes."""
    rows = 100 - batch["labels"].shape[1]
    padded = {
        name: np.pad(
            batch[name],
            [(0, 0), (0, rows), (0, 0)][: batch[name].ndim],
            constant_values=-1,
        )
        for name in ("boxes", "labels")
    }
    masks = np.zeros((*padded["labels"].shape, SIDE, SIDE), "uint8")
    masks[:, :, : SIDE // 2] = 255
    # Rows lie from top to bottom, columns from left to right.
    first, last = np.split(padded["boxes"][..., [1, 0, 3, 2]], 2, axis=-1)
    grids = np.linspace(first, last, SIDE + 1, axis=-1, dtype="float32")
    return {**batch, **padded, "masks": masks, "mask_grids": grids}


def make_step(name, model, batch):
    if name == "mask_rcnn":
        batch = add_crops(batch)
    elif name == "planes":
        batch = add_planes(batch)
    images = batch["images"]
    targets = {key: value for key, value in batch.items() if key != "images"}
    if name == "keras_cv":
        targets = {"boxes": batch["boxes"], "classes": batch["labels"]}
    # KerasCV's has no `train_on_batch`.
    batches = iter(tf.data.Dataset.from_tensors((images, targets)).repeat())
    model.make_train_function()
    return lambda: float(model.train_function(batches)["loss"])


def print_memory(run, before):
    """Prints by how much the resident size has grown after three runs."""
    for _ in range(3):
        run()
    print(f"{(largest_size() - before) / 1e9:.2f} GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", choices=DETECTORS, default="retinanet")
    parser.add_argument(
        "--against", choices=("keras_cv", *DETECTORS), default="keras_cv"
    )
    parser.add_argument("--model", default="epsanet50_small")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=("HEIGHT", "WIDTH"),
    )
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--objects", type=int, default=8, metavar="N")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    batch = make_batch(args.batch_size, args.image_size, args.objects)
    if args.memory:
        before = largest_size()
        name = "planes" if args.against == "planes" else args.detector
        step = make_step(name, build(name, args.model, args.image_size), batch)
        print_memory(step, before)
        return
    names = (args.detector, args.against)
    models = [build(name, args.model, args.image_size) for name in names]
    steps = [
        make_step(name, model, batch) for name, model in zip(names, models)
    ]
    print(
        f"training step, {args.detector} / {args.against} on {args.model}, "
        f"batch {args.batch_size}, {'×'.join(map(str, args.image_size))}"
    )
    print("trainable", *(f"{sum_sizes(model):,}" for model in models))
    print(format_ratios(measure_ratios(steps, args.repeats)))


def sum_sizes(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


if __name__ == "__main__":
    main()
