"""Draws what a detector of `train_coco.py` finds in images.

    python examples/detect.py IMAGE...
    python examples/detect.py --run RUN --output FOLDER IMAGE...

takes the detector that `train_coco.py` left in RUN, prints what it finds and
saves every picture with boxes, classes and scores as PNG; IMAGE is a file
(JPEG, PNG, WebP, BMP or GIF) or a folder, with all images in it at any depth.

    python examples/detect.py --weights mask_rcnn_resnet50_fpn_1x_coco IMAGE...

takes a detector that MMDetection has trained on COCO (docs/detection.md has
all names), which is downloaded once, or a file of MMDetection's.
`--json FILE.json` writes what is found to a file of COCO's form too, with masks
as run lengths, `--csv FILE.csv` to a table. Of more than ten images there is a
progress bar. A video has its frames drawn into a video or, with `--frames`,
into pictures. Files that cannot be decoded are named and skipped, and the
command ends with 1.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import detect

if __name__ == "__main__":
    detect.main()
