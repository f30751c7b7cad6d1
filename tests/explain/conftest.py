"""Small models that can be seen through, for the tests of explanations."""

import keras
import numpy as np
import pytest

SIZE = 32


def find_red(classes=("blue", "green", "red"), data_format=None, **kwargs):
    """A classifier of colors: the logits are the means of the channels.

    So the pixels of a color speak for it, and no others.
    """
    from keras_epsanet.layers import ClassNames

    shape = (None, None, 3)
    if data_format == "channels_first":
        shape = (3, None, None)
    image = keras.Input(shape, name="image")
    x = keras.layers.AveragePooling2D(4, data_format=data_format, name="pool")(
        image
    )
    x = keras.layers.Conv2D(
        3, 1, data_format=data_format, name="colors", **kwargs
    )(x)
    x = keras.layers.ReLU(name="relu", dtype=kwargs.get("dtype"))(x)
    x = keras.layers.GlobalAveragePooling2D(
        data_format=data_format, name="mean", dtype=kwargs.get("dtype")
    )(x)
    x = keras.layers.Dense(3, "softmax", name="classes", dtype="float32")(x)
    model = keras.Model(image, ClassNames(classes)(x))
    # From red, green and blue to blue, green and red.
    kernel = np.eye(3)[::-1]
    model.get_layer("colors").kernel.assign(kernel[None, None] - 0.5)
    model.get_layer("classes").kernel.assign(3 * np.eye(3))
    return model


def detect_red(image_size=(80, 160)):
    """A RetinaNet of boxes of 32 pixels about red cells of 8, class 1.

    All of its weights are 0 but those on the way of one channel, which is red
    less green, so that the pixels of a cell speak for its box, and no others.
    """
    from keras_epsanet.detection import RetinaNet

    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.AveragePooling2D(8, name="pool")(image)
    p3 = keras.layers.Conv2D(1, 1, activation="relu", name="red")(x)
    p4 = keras.layers.AveragePooling2D(2)(p3)
    backbone = keras.Model(image, p3)
    backbone.pyramid_outputs = {
        "P3": p3,
        "P4": p4,
        "P5": keras.layers.AveragePooling2D(2)(p4),
    }
    model = RetinaNet(
        backbone,
        2,
        anchor_scales=(4,),
        anchor_ratios=(1,),
        image_size=image_size,
        class_names=["green", "red"],
    )
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    red = model.get_layer("red")
    # Of normalized colors: 1 is red, 0 is any gray.
    red.kernel.assign(np.array([0.229, -0.224, 0])[None, None, :, None])
    red.bias.assign([0.485 - 0.456])
    for name in ("fpn_lateral_P3", "fpn_output_P3", *TOWER):
        kernel = np.zeros(model.get_layer(name).kernel.shape)
        kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0, 0] = 1
        model.get_layer(name).kernel.assign(kernel)
    last = model.get_layer("classification_output")
    kernel = np.zeros(last.kernel.shape)
    kernel[1, 1, 0, 1] = 8
    last.kernel.assign(kernel)
    last.bias.assign([-9, -4])
    return model


TOWER = [f"classification_conv{i}" for i in range(1, 5)]


@pytest.fixture(scope="session")
def red_detector():
    """A detector of red."""
    return detect_red()


@pytest.fixture
def two_spots():
    """A gray picture with two red spots of a cell, and boxes around them.

    Of 40×72 pixels, which the detector of red takes as 80×144 of 96×160.
    """
    picture = np.full((40, 72, 3), 120.0, "float32")
    picture[12:16, 8:12] = 255, 0, 0
    picture[24:28, 52:56] = 180, 0, 0
    return picture, [[0, 4, 16, 20], [44, 16, 60, 32]]


@pytest.fixture
def colors():
    """Function that makes a classifier of colors."""
    return find_red


def name_by_scales(size=None, data_format="channels_last"):
    """A classifier with PSA; without a size it takes any."""
    from keras_epsanet.layers import PSA, ClassNames

    keras.utils.set_random_seed(0)
    of = {"data_format": data_format}
    is_last = data_format == "channels_last"
    image = keras.Input((size, size, 3) if is_last else (3, size, size))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(16, 3, strides=2, name="conv", **of)(x)
    x = PSA(16, (3, 5), (1, 2), reduction=4, name="conv2_block1_psa", **of)(x)
    x = keras.layers.GlobalAveragePooling2D(**of)(x)
    x = keras.layers.Dense(3, "softmax")(x)
    return keras.Model(image, ClassNames(["ant", "bee", "cat"])(x))


@pytest.fixture
def with_scales():
    """Function that makes a classifier with PSA."""
    return name_by_scales


@pytest.fixture
def squares():
    """Images of a red square of 8 pixels, and where they are."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 0.2, (4, SIZE, SIZE, 3)).astype("float32")
    images[..., 1] += 0.3
    is_square = np.zeros((4, SIZE, SIZE), bool)
    for i, (top, left) in enumerate([(0, 0), (8, 20), (24, 4), (12, 12)]):
        images[i, top : top + 8, left : left + 8] = 1, 0, 0
        is_square[i, top : top + 8, left : left + 8] = True
    return images, is_square


@pytest.fixture
def images():
    """Images of two sizes by their names."""
    random = np.random.default_rng(0)
    sizes = {"a.png": (24, 32), "b.png": (32, 24)}
    return {k: random.integers(0, 256, (*v, 3)) for k, v in sizes.items()}


@pytest.fixture
def record(monkeypatch):
    """Function that lists what a module draws, in place of files.

    The list has the name and the arguments of each call.
    """

    def replace(module, *names):
        calls = []
        for name in names:
            monkeypatch.setattr(
                module, name, lambda *x, name=name: calls.append((name, *x))
            )
        return calls

    return replace


@pytest.fixture
def weighed():
    """Weights of two stages, of which the second prefers the large scale."""
    from keras_epsanet.explain.attention_values import (
        Attention,
        LayerAttention,
    )

    scales = np.full((4, 2, 8), 0.5, "float32")
    third = scales.copy()
    third[:, 0], third[:, 1] = 0.2, 0.8
    third[:2, 0], third[:2, 1] = 0.4, 0.6
    maps = np.zeros((4, 2, 2, 2), "float32")
    maps[:, 1, 0, 0] = 3
    maps[:, 0, 1, 1] = 1.5
    layers = [
        LayerAttention(
            f"{stage}_block1_psa", "PSA", stage, ("3×3", "5×5"), x, maps
        )
        for stage, x in (("conv2", scales), ("conv3", third))
    ]
    return Attention(layers, np.array([0, 0, 1, 1]), ["ant", "bee"])
