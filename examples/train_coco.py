"""Trains a detector with an EPSANet as its backbone, and looks at it.

    python examples/train_coco.py --weights runs/classifier/model.keras

trains RetinaNet on 1,600 scenes composed of Fashion-MNIST's images, which need
no download, from the weights that `train_classifier.py` made, and leaves in
the output folder `last.weights.h5`, `model.keras`, the log and
`predictions.png`: what it finds beside the truth.

    python examples/train_coco.py --detector mask_rcnn --weights FILE

trains Mask R-CNN (`faster_rcnn`: Faster R-CNN).

    python examples/train_coco.py --weights mask_rcnn_resnet50_fpn_1x_coco

trains further what MMDetection has trained on COCO, with --data MY on the
classes of the folder MY; docs/detection.md has all names.

    python examples/train_coco.py --library keras_hub --weights FILE

trains KerasHub's RetinaNet instead, on the same data with the same recipe
(`--library keras_cv`: KerasCV's).

    python examples/train_coco.py --data COCO --weights FILE --output RUN

trains with the paper's recipe on all GPUs. COCO is a folder with
`annotations/instances_train2017.json`, `instances_val2017.json`, `train2017`
and `val2017`. The same command again goes on where the training was after
Ctrl-C, a SIGTERM or a kill, and a larger --epochs trains it further. Options
that are not given are then those of the training.

What was reached on scenes stands in docs/detection.md. Not run on COCO.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import train_coco

if __name__ == "__main__":
    train_coco.main()
