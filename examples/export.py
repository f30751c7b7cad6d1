"""Exports a trained model for other runtimes, and checks what was exported.

    python examples/export.py --model runs/classifier/model.keras --format onnx

writes `model.onnx` beside the model; `--format saved_model onnx litert` writes
three, and `litert_int8` calibrates int8 with the images of the check. Each is
run by its own runtime on random and on embedded images, and only kept if its
outputs are those of Keras: within 1e-4 of the largest, 0.1 for int8. LiteRT
files are for one size of images. The detectors of `train_coco.py` (`--model
RUN/model.keras`) are exported with decoding, suppression and class names, if
they find the same objects; their ONNX files are for one size, too. ONNX Runtime
fuses more of a graph whose `--batch-size` is fixed; it needs
`pip install ".[export]"`.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import export

if __name__ == "__main__":
    export.main()
