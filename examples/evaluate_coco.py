"""Evaluates a detector by COCO's rules, on COCO or on data in its form.

    python examples/evaluate_coco.py --data COCO --run RUN
    python examples/evaluate_coco.py --data COCO --weights NAME

takes the detector that `train_coco.py` left in RUN, or one that MMDetection has
trained, such as mask_rcnn_resnet50_fpn_1x_coco, and data as `train_coco.py`,
of which `val` is evaluated, on all GPUs, each image once. It prints COCO's
average precisions beside those of the paper, and those of every class, and
leaves them in `--output` as `metrics.json` and `classes.csv`, with
`precision_recall.png` and the results in COCO's form. The same command goes on
where it was interrupted; results of other weights or settings are kept apart.

Not run on COCO.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import evaluate_coco

if __name__ == "__main__":
    evaluate_coco.main()
