"""Evaluates a classifier on a folder of images, or weights on ImageNet.

    python examples/evaluate.py --model FILE --data FOLDER

takes the `model.keras` that `train_classifier.py` left, and a folder with a
sub-folder of images for each class, or its part `val` or `test`; without
`--data`, the embedded images. It prints loss, top-1 and, of more than five
classes, top-5 accuracy, the accuracy of every class, and for which others it
is taken; `--confusion FILE` writes all of it as CSV.

    python examples/evaluate.py --weights FILE --data IMAGENET

evaluates weights on ImageNet as in table 2 of the paper and prints
parameters, FLOPs, top-1 and top-5 accuracy beside those of the paper. FILE is
what `train_imagenet.py` left, any other file of Keras, or a checkpoint of the
PyTorch implementation (`.pth`, `.pth.tar`, `.safetensors`). Of every image
the shorter side becomes 256 pixels, and the middle 224×224 are taken. Not run
on ImageNet yet.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import evaluate

if __name__ == "__main__":
    evaluate.main()
