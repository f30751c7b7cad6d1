"""Exports a trained model for other runtimes, and checks what was exported.

    python examples/export.py --model runs/classifier/model.keras --format onnx

writes `model.onnx` beside the model; `--format saved_model onnx litert` writes
three, and `litert_int8` calibrates int8 with the images of the check. Each is
run by its own runtime on random and on embedded images, and only kept if its
outputs are those of Keras: within 1e-4 of the largest, 0.1 for int8. LiteRT
files are for one size of images. ONNX Runtime fuses more of a graph whose
`--batch-size` is fixed; it needs `pip install keras-epsanet[export]`.
"""

import os

# On processors without AVX-512 TensorFlow leaves these kernels off, although
# they train this network 2.5 times as fast there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Of TensorFlow, errors alone.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_epsanet.commands import export

if __name__ == "__main__":
    export.main()
