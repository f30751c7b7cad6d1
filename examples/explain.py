"""Shows why a classifier or a detector says what it says.

    python examples/explain.py --model runs/classifier/model.keras IMAGE...

writes runs/explained/index.html, one page that holds all of its pictures, and
the pictures beside it: which pixels of every image speak for its class
(Grad-CAM), what the attention weighs, and where each scale is active. With
`--compare FILE` another model is shown beside it, as in section 4.4 of the
paper. With `--data FOLDER`, or without images, there are also the mistakes,
the calibration, and what each scale of each stage is worth. The model must
take RGB images from 0 to 255 and know its classes, as those of
`train_classifier.py` do.

    python examples/explain.py --model runs/detector IMAGE...

shows the best detections of every image and the pixels that speak for each.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import explain

if __name__ == "__main__":
    explain.main()
