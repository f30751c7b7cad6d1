"""Names what images show, with a model of `train_classifier.py`.

    python examples/predict.py --model runs/classifier/model.keras IMAGE...

prints the most probable classes of every image; IMAGE is a file (JPEG, PNG,
WebP, BMP or GIF) or a folder, with all images in it at any depth. With
`--output FILE.json` or `--output FILE.csv` they are written to a file. Files
that cannot be decoded are named and skipped, and the command ends with 1. The
model should have been trained with such images: those of Fashion-MNIST are
light clothes on a black background.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import predict

if __name__ == "__main__":
    predict.main()
