import types

import keras
import pytest

from keras_epsanet.classification.imagenet import evaluation

if keras.backend.backend() != "tensorflow":
    pytest.skip("ImageNet is read by TensorFlow", allow_module_level=True)


def test_the_row_holds_sizes_and_accuracies_beside_the_paper_s(monkeypatch):
    counts = types.SimpleNamespace(parameters=12.3e6, macs=9e9, flops=4.5e9)
    asked = []
    monkeypatch.setattr(
        evaluation, "complexity", lambda *x: asked.append(x) or counts
    )
    result = {"top1": 0.7654, "top5": 0.9321, "loss": 1.0}
    row = evaluation.table_row("epsanet50_small", "network", result)
    assert asked == [("network", (224, 224, 3))]
    assert row.splitlines()[-1].split() == [
        "epsanet50_small",
        *("12.30", "22.56", "4.50", "3.62"),
        *("76.54", "77.49", "93.21", "93.54"),
    ]


def test_weights_of_other_classes_are_refused(tmp_path):
    path = str(tmp_path / "tiny.weights.h5")
    evaluation.MODELS["tiny"](classes=3).save_weights(path)
    network = evaluation.load_network("tiny", path, 3)
    assert network.input_shape == (None, None, None, 3)
    with pytest.raises(ValueError, match="has 3 classes, the model's 4"):
        evaluation.load_network("tiny", path, 4)


def test_options_reach_the_batches(monkeypatch):
    import numpy as np
    import tensorflow as tf

    asked = []

    def batches(source, size, image_size, shard):
        asked.append((source, size, image_size, shard))
        images = np.full((2, image_size, image_size, 3), 255, "uint8")
        return tf.data.Dataset.from_tensors((images, np.eye(6)[[5, 0]]))

    monkeypatch.setattr(evaluation.imagenet, "evaluation_batches", batches)
    image = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    # White is more than zero once it is normalized: the last class.
    dense = keras.layers.Dense(6, "softmax", use_bias=False)
    network = keras.Model(image, dense(mean))
    dense.kernel.assign(np.ones((3, 1)) * np.arange(6))
    found = evaluation.evaluate(
        network, "source", 7, 8, tf.distribute.get_strategy()
    )
    assert asked == [("source", 7, 8, (0, 1))]
    assert (found["top1"], found["top5"]) == (0.5, 0.5)
    white = (
        (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    ).sum()
    scores = white * np.arange(6)
    losses = np.log(np.exp(scores - white * 5).sum()) + white * 5 - scores
    assert found["loss"] == pytest.approx(losses[[5, 0]].mean(), rel=1e-4)
