"""Prints where the processor's time of a detection by Mask R-CNN goes.

    python benchmarks/detection_parts.py

Mask R-CNN on ResNet-50 finds 100 objects in a picture of 800×1333 pixels, on
TensorFlow, with the random weights of `detection_torchvision.py`. Each part is
a function of its own, which gets what the part before returned; of
`--repeats` runs the least time counts. Processor time is that of all threads,
so that other work beside it changes little; parts that run on one thread have
a larger share of the time on the clock.
"""

import argparse
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# NumPy's threads wait busily for each other, which would be counted.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import tensorflow as tf
from detection_torchvision import build_ours, make_state

from keras_epsanet import detection
from keras_epsanet.detection import (
    box_head,
    mask_head,
    pictures,
    region_proposal,
)
from keras_epsanet.detection.faster_rcnn import CANDIDATES, LEVELS, PROPOSALS


def measure_parts(model, picture, repeats):
    """Returns pairs of a part and its seconds."""
    parts = []

    def run(name, function, *inputs):
        times = []
        for _ in range(1 + repeats):
            start = time.process_time()
            result = function(*inputs)
            times.append(time.process_time() - start)
        parts.append((name, min(times[1:])))
        return result

    @tf.function
    def propose(outputs):
        return region_proposal.propose(
            outputs["rpn_logits"],
            outputs["rpn_deltas"],
            images.shape[1:3],
            sizes,
            CANDIDATES,
            PROPOSALS,
            model.anchor_generator,
        )

    @tf.function
    def see(head, boxes, size):
        return model.apply_head(head, boxes, levels, size)

    @tf.function
    def choose(logits, deltas):
        candidates = box_head.decode_boxes(
            proposals, found, logits, deltas, sizes
        )
        return model.suppress(*candidates)

    def paste():
        masks = tf.sigmoid(logits[0, ..., 0]).numpy()
        boxes = best["boxes"][0].numpy()
        return mask_head.paste_masks(masks, boxes, *picture.shape[:2])

    prepared = run("resize", pictures.prepare, picture, model.image_size)
    images, sizes = tf.constant(prepared.inputs[None]), [prepared.size]
    run("backbone", tf.function(model.backbone), images)
    outputs = run("with pyramid and RPN", tf.function(model), images)
    levels = {level: outputs[level] for level in LEVELS}
    proposals, found, _ = run("choose proposals", propose, outputs)
    logits, deltas = run(
        "box head", see, model.box_head, proposals, box_head.OUTPUT_SIZE
    )
    best = run("choose objects", choose, logits, deltas)
    print("objects found", int(best["num_detections"][0]))
    logits = run(
        "mask head", see, model.mask_head, best["boxes"], mask_head.OUTPUT_SIZE
    )
    run("paste masks", paste)
    # What is behind the backbone was measured together with it.
    (_, backbone), (_, both) = parts[1:3]
    parts[2] = ("pyramid and RPN", both - backbone)
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(800, 1333),
        metavar=("HEIGHT", "WIDTH"),
    )
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    model = build_ours(args.image_size)
    detection.load_mmdet_weights(model, make_state(model))
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (*args.image_size, 3), "uint8")
    parts = measure_parts(model, picture, args.repeats)
    whole = sum(seconds for _, seconds in parts)
    for name, seconds in parts:
        print(f"{name:20} {seconds / whole:6.1%}")


if __name__ == "__main__":
    main()
