"""Trains an EPSANet to classify images and looks at what it has learned.

    python examples/train_classifier.py

trains EPSANet-50 Small from scratch on the 10,000 images of Fashion-MNIST
that come with the package and needs no network. On 2 cores of an AMD EPYC
processor with AVX-512 it took 5 minutes 33 seconds and reached 87.05% top-1
on the 2,000 held-out images.

    python examples/train_classifier.py --data FOLDER --image-size 224

trains on your own images: a folder with a sub-folder for each class, or one
with such folders `train` and `val` or `test`. With `--tfds NAME` they come
from TensorFlow Datasets. `pip install ".[examples]"` installs those.

    python examples/train_classifier.py --data FOLDER --weights FILE --freeze

trains a new classifier on top of trained weights and leaves all else as it
is; without `--freeze`, all of the network is trained further. The start is
kept if no epoch is better.

The same command goes on where a training was, after Ctrl-C, a SIGTERM or a
kill. `--epochs` of a training can be raised, also when it is finished: the
learning rate then goes on as that of the longer training, for which a cosine
rises again. `--patience N` ends a training after N epochs without a better
one.

In the output folder it leaves the best epoch as `model.keras`, which takes
RGB images of any size with values from 0 to 255 and knows the names of its
classes (see `predict.py`); the pictures `curves.png`, `predictions.png` and
`confusion.png`; `confusion.csv`, `classes.csv` with the accuracy of every
class, and `results.json`; the log of all epochs in `log.csv` and for
TensorBoard; the recipe and the checkpoints.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import train

if __name__ == "__main__":
    train.main()
