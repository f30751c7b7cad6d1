"""Trains a detector on images with boxes, and draws what it finds.

    python examples/detect_on_own_data.py FOLDER

FOLDER has COCO's form: `annotations/instances_train.json` and
`instances_val.json`, and the images in `train` and `val`. Without it small
scenes are composed of the embedded pictures of clothes. On 2 cores of an AMD
EPYC processor with AVX2 that had other work too they took 6 minutes 47 seconds
(4 of processor time); AP50 rose from 0.2% to 1.3%. Detectors take longer.

Needs `pip install ".[detection]"`.
"""

import os
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

from keras_epsanet import EPSANetBackbone
from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import CocoEvaluator, RetinaNet, draw_beside


def load(folder, image_size, number):
    """Images and boxes to train with, and others to evaluate with."""
    if folder is None:
        folder = f"scenes_of_{image_size}_pixels"
        if not os.path.isdir(folder):
            scenes.write(
                folder, number, number // 8, image_size, objects=(1, 2)
            )
    return (
        coco.Annotations(
            f"{folder}/annotations/instances_{part}.json", f"{folder}/{part}"
        )
        for part in ("train", "val")
    )


def build(class_names, sides):
    # Small, for minutes on a CPU, and from scratch. With time and weights:
    # `from_variant("epsanet50_small", weights=FILE, freeze_stages=1)`.
    backbone = EPSANetBackbone(
        stackwise_num_blocks=(1, 1, 1, 1),
        stackwise_num_filters=(64, 64, 128, 128),
        kernel_sizes=(3, 5),
        groups=(1, 4),
    )
    return RetinaNet(
        backbone,
        num_classes=len(class_names),
        head_initializer="he_normal",
        image_size=sides,
        class_names=class_names,
    )


def main(folder=None, image_size=64, number=480, epochs=2, batch_size=4):
    # Data
    train, val = load(folder, image_size, number)
    sides = (image_size, 2 * image_size)  # Shorter; longer at most.
    batches = coco.load(train, batch_size, training=True, image_size=sides)
    evaluation = coco.load(val, batch_size, image_size=sides)

    # Model
    keras.utils.set_random_seed(0)
    detector = build(train.class_names, sides)

    # Fit
    steps = len(coco.training_images(train)) // batch_size
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, epochs * steps, warmup_target=1e-3, warmup_steps=steps // 4
    )
    detector.compile(keras.optimizers.Adam(rate, global_clipnorm=10.0))
    detector.fit(
        batches,
        steps_per_epoch=steps,
        epochs=epochs,
        callbacks=[CocoEvaluator(evaluation, val)],
        shuffle=False,  # Shuffled already.
        verbose=2,
    )

    # Look
    detector.save("detector.keras")
    batch = next(iter(evaluation))
    found = detector.predict(batch["images"], verbose=0)
    draw_beside(batch, found, val.class_names, path="found.png", min_score=0.2)
    print("Saved detector.keras and found.png")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], image_size=512, epochs=12)
    else:
        main()
