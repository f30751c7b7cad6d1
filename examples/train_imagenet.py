"""Trains an EPSANet on ImageNet as the paper does (section 4.1).

    python examples/train_imagenet.py --data IMAGENET --output RUN

takes all GPUs of the machine, and 120 epochs. IMAGENET is a folder with the
sub-folders `train` and `val`, a folder of TFRecord files or
`tfds[:FOLDER]`, as in `keras_epsanet.data.imagenet.open_source`. The same
command again goes on where the training was, after a crash, a kill or a
signal that ended it: `docs/imagenet.md` explains this, several machines and
the published results. Not run on ImageNet yet.

    python examples/train_imagenet.py --smoke --output RUN

runs the very same code on some embedded images, in 10 seconds on 2 cores.

In RUN it leaves `best.weights.h5` and `last.weights.h5`, weights of the
network for `weights=`, their SHA-256 in `SHA256SUMS`, the log of all epochs
in `log.csv` and for TensorBoard, `recipe.json` and the last checkpoints. It
saves and exits with 75 after a SIGTERM, with 130 after Ctrl-C.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import train_imagenet

if __name__ == "__main__":
    train_imagenet.main()
