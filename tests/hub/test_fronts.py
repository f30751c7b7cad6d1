"""What models do with their images before the network."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet50Small, ResNet
from keras_epsanet.hub import fronts
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

FRAME = {"stackwise_num_blocks": (1, 1), "stackwise_num_filters": (16, 32)}


def test_a_classifier_of_a_training_resizes_and_normalizes(make_classifier):
    front = fronts.read_front(make_classifier(size=(32, 40)))
    assert front.image_size == (32, 40) and front.is_inside
    assert front.resizing == {
        "interpolation": "bilinear",
        "antialias": False,
        "crop_to_aspect_ratio": False,
        "pad_to_aspect_ratio": False,
    }
    assert front.mean == IMAGENET_MEAN and front.std == IMAGENET_STD
    pixel = np.array([10.0, 100.0, 200.0])
    np.testing.assert_allclose(
        pixel * front.scale + front.offset,
        (pixel / 255 - IMAGENET_MEAN) / IMAGENET_STD,
    )


@pytest.mark.parametrize(
    "shape, data_format, size",
    [
        ((64, 48, 3), "channels_last", (64, 48)),
        ((3, 64, 48), "channels_first", (64, 48)),
        ((None, None, 3), "channels_last", None),
    ],
)
@pytest.mark.parametrize("is_inside", [False, True])
def test_a_network_alone(shape, data_format, size, is_inside):
    model = ResNet(
        **FRAME,
        input_shape=shape,
        data_format=data_format,
        include_preprocessing=is_inside,
        prefix="left_",
    )
    front = fronts.read_front(model)
    assert front == (size, IMAGENET_MEAN, IMAGENET_STD, {}, is_inside)
    assert fronts.data_format_of(model) == data_format
    assert fronts.stem_input(model).shape[1:] == shape


def test_of_gray_images_nothing_is_assumed():
    front = fronts.read_front(ResNet(**FRAME, input_shape=(32, 32, 1)))
    assert front.mean is front.std is front.scale is front.offset is None


def test_one_number_is_that_of_every_channel():
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    front = fronts.read_front(ResNet(**FRAME, input_tensor=x))
    assert front.mean == front.std == (0.5, 0.5, 0.5)


def test_other_layers_in_front_are_named():
    image = keras.Input((32, 32, 3))
    flip = keras.layers.RandomFlip(name="flip")
    with pytest.raises(ValueError, match=r"no other.*flip \(RandomFlip\)"):
        fronts.read_front(ResNet(**FRAME, input_tensor=flip(image)))
    twice = keras.layers.Rescaling(2)(keras.layers.Rescaling(1)(image))
    with pytest.raises(ValueError, match=r"One|one.*\(Rescaling\)"):
        fronts.read_front(ResNet(**FRAME, input_tensor=twice))
    resized = keras.layers.Resizing(32, 32, name="again")(
        keras.layers.Resizing(48, 48)(image)
    )
    with pytest.raises(ValueError, match=r"again \(Resizing\)"):
        fronts.read_front(ResNet(**FRAME, input_tensor=resized))
    with pytest.raises(ValueError, match="must be an EPSANet, a ResNet"):
        fronts.read_front(keras.Model(image, image))


def test_the_networks_of_the_paper_have_224_pixels():
    assert fronts.read_front(EPSANet50Small()).image_size == (224, 224)
