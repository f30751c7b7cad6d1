import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet
from keras_epsanet.weights.resnet_like import resnet_like
from keras_epsanet.weights.resnet_names import read_resnet

SIZES = {"input_shape": (32, 32, 3), "classes": 7}


def build(scales, widths=(16, 32), **options):
    network = EPSANet((1, 1), widths, *scales, reduction=4, **SIZES, **options)
    random = np.random.default_rng(0)
    for variable in network.variables:
        noise = random.uniform(0.5, 1.5, variable.shape)
        variable.assign(noise if variable.ndim == 1 else noise - 1)
    return network


def test_a_resnet_computes_as_its_source_and_leaves_the_network_alone():
    source = build(((3,), (1,)))
    network = build(((3, 5), (1, 4)))
    before = network.get_weights()
    resnet = resnet_like(network, read_resnet(source))
    images = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    expected, found = (
        keras.ops.convert_to_numpy(model(images)) for model in (source, resnet)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    names = [[x.name for x in model.layers[1:]] for model in (resnet, network)]
    assert names[0] == names[1]
    for ours, theirs in zip(network.get_weights(), before):
        np.testing.assert_array_equal(ours, theirs)


def test_what_stands_in_front_of_the_network_is_copied_with_its_state():
    image = keras.Input((32, 32, 3))
    # Means 1, 2, 3 and deviations 1, 2, 3, in weights that no config has.
    adapted = keras.layers.Normalization()
    adapted.adapt(np.float32([[[[0, 0, 0], [2, 4, 6]]]]))
    network = EPSANet(
        (1, 1),
        (16, 32),
        (3, 5),
        (1, 4),
        reduction=4,
        input_tensor=adapted(image),
        classes=7,
    )
    source = build(((3,), (1,)))
    resnet = resnet_like(network, read_resnet(source))
    images = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    normalized = (images - [1, 2, 3]) / [1, 2, 3]
    expected, found = (
        keras.ops.convert_to_numpy(x)
        for x in (source(normalized), resnet(images))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_it_has_the_precision_of_the_network():
    source = read_resnet(build(((3,), (1,))))
    network = build(((3, 5), (1, 4)), dtype="float64")
    for layer in resnet_like(network, source).layers[1:]:
        assert layer.dtype_policy.name == "float64", layer.name


def test_another_width_is_refused():
    source = read_resnet(build(((3,), (1,)), widths=(16, 48)))
    with pytest.raises(ValueError, match="Received"):
        resnet_like(build(((3, 5), (1, 4))), source)
