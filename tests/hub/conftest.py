"""Classifiers as a training leaves them, and the folder of one."""

import json

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, ResNet
from keras_epsanet.layers import ClassNames, Resizing
from keras_epsanet.models.preprocessing import rescale

FRAME = {"stackwise_num_blocks": (2, 1), "stackwise_num_filters": (16, 32)}
PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}
CLASSES = ("cat", "dog", "a | b", "Ä")


@pytest.fixture
def make_classifier(randomize):
    """Function that makes a classifier of images of any size, by attention.

    `"psa"` is an EPSANet.
    """

    def make(attention="psa", size=(32, 40), classes=CLASSES, **kwargs):
        image = keras.Input((None, None, 3))
        x = Resizing(*size, dtype="float32")(image)
        x = rescale(x, "channels_last")
        arguments = FRAME | {
            "input_tensor": x,
            "classes": len(classes),
            "classifier_activation": None,
        }
        if attention == "psa":
            network = EPSANet(**arguments, **PYRAMID, **kwargs)
        else:
            network = ResNet(**arguments, attention=attention, **kwargs)
        x = keras.layers.Softmax(dtype="float32")(network.output)
        model = randomize(keras.Model(image, ClassNames(classes)(x)))
        # So that the images decide.
        for weight in model.weights:
            if weight.name == "gamma":
                weight.assign(weight + 2)
            if weight.path == "predictions/kernel":
                weight.assign(weight * 2)
        return model

    return make


@pytest.fixture
def images():
    """RGB images with values from 0 to 255, of another size."""
    random = np.random.default_rng(0)
    noise = random.uniform(0, 100, (3, 50, 44, 3))
    return (noise + 155 * random.random((3, 1, 1, 3))).astype("float32")


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a finished training, as far as a card reads it."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    recipe = {"model": "tiny", "image_size": 32, "teacher": None, "l2": 0.5}
    results = {"epochs": 7, "best_epoch": 5, "top1": 0.75, "recipe": recipe}
    images = {
        "source": "/home/somebody/secret/pets",
        "class_names": list(CLASSES),
        "train": 1600,
        "held_out": 1200,
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "images.json").write_text(json.dumps(images))
    (folder / "classes.csv").write_text(
        "class,images,right,accuracy,taken_for\n"
        "cat,300,225,0.75,dog\ndog,300,225,0.75,cat\n"
        "a | b,300,225,0.75,cat\nÄ,300,300,1.0,\n",
        encoding="utf-8",
    )
    return folder
