"""Accuracy without a scale, of models in which it is known."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, explain, fuse
from keras_epsanet.explain.model_inputs import run
from keras_epsanet.explain.scale_switches import ALL
from keras_epsanet.layers import PSA


def by_one_scale():
    """A classifier that looks at the first scale of its only PSA."""
    image = keras.Input((None, None, 4))
    layer = PSA(16, (3, 5), (1, 2), reduction=4, name="conv2_block1_psa")
    x = keras.layers.GlobalAveragePooling2D()(layer(image))
    dense = keras.layers.Dense(2)
    model = keras.Model(image, dense(x))
    for conv in layer.spc.convolutions:
        kernel = np.zeros(conv.kernel.shape)
        middle = kernel.shape[0] // 2
        kernel[middle, middle, 0] = 1
        conv.kernel.assign(kernel)
    kernel = np.zeros((16, 2))
    kernel[:8, 1] = 1
    dense.kernel.assign(kernel)
    dense.bias.assign([0.1, 0])
    return model


@pytest.fixture
def data():
    """Images whose first channel tells the class."""
    images = np.zeros((6, 6, 6, 4), "float32")
    images[::2, :, :, 0] = 1
    return images, np.array([1, 0] * 3)


def test_only_the_scale_that_is_used_is_missed(data):
    found = explain.scale_ablation(by_one_scale(), data)
    assert found.images == 6 and found.accuracy == 1
    # Without it all are taken for the class 0.
    assert found.without == {
        "conv2": {"3×3": 0.5, "5×5": 1.0},
        ALL: {"3×3": 0.5, "5×5": 1.0},
    }


def test_batches_and_one_hot_classes_are_the_same(data):
    images, labels = data
    model = by_one_scale()
    expected = explain.scale_ablation(model, data)
    batches = [
        (images[:4], np.eye(2)[labels[:4]]),
        (images[4:], np.eye(2)[labels[4:]]),
    ]
    assert explain.scale_ablation(model, batches) == expected
    assert explain.scale_ablation(model, data, batch_size=4) == expected


RANDOM = np.random.default_rng(0)
# Of different colors and contrasts, or all would be of one class.
IMAGES = RANDOM.normal(size=(32, 32, 32, 3))
IMAGES *= RANDOM.uniform(0.1, 2, (32, 1, 1, 1))
IMAGES += 2 * RANDOM.normal(size=(32, 1, 1, 3))


def network():
    """A network that does not take all images for one class."""
    keras.utils.set_random_seed(0)
    model = EPSANet(
        (2, 1),
        (16, 32),
        (3, 5),
        (1, 4),
        reduction=4,
        classes=5,
        input_shape=(None, None, 3),
    )
    logits = np.log(run(model, IMAGES))
    model.get_layer("predictions").bias.assign(-logits.mean(axis=0))
    return model


def test_a_stage_is_switched_off_in_all_its_blocks():
    off = network()
    # What a new BatchNorm makes of a scale of zeros.
    for name in ("conv2_block1_2_bn", "conv2_block2_2_bn"):
        gamma = np.ones(16)
        gamma[8:] = 0
        off.get_layer(name).gamma.assign(gamma)
    labels = run(off, IMAGES).argmax(-1)
    found = explain.scale_ablation(network(), (IMAGES, labels))
    assert list(found.without) == ["conv2", "conv3", ALL]
    assert found.without["conv2"]["5×5"] == 1
    others = [found.accuracy, found.without["conv2"]["3×3"]]
    assert max(*others, *found.without[ALL].values()) < 1


def test_a_fused_model_loses_as_much():
    model = network()
    images, labels = IMAGES[:8], np.arange(8) % 5
    assert explain.scale_ablation(
        fuse(model), (images, labels)
    ) == explain.scale_ablation(model, (images, labels))


def test_nothing_of_the_model_changes(data):
    model = by_one_scale()
    before = run(model, data[0])
    explain.scale_ablation(model, data)
    np.testing.assert_array_equal(run(model, data[0]), before)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0] * 5, "6 images and 5 classes"),
        ([0, 1, 2, 0, 0, 0], "integers from 0 to 1"),
        ([0.0] * 6, "integers from 0 to 1"),
    ],
)
def test_classes_that_do_not_fit_are_refused(data, labels, message):
    with pytest.raises(ValueError, match=message):
        explain.scale_ablation(by_one_scale(), (data[0], labels))


def test_no_images_and_no_scales_are_refused(data, colors):
    with pytest.raises(ValueError, match="must hold images"):
        explain.scale_ablation(by_one_scale(), [])
    with pytest.raises(ValueError, match="batch_size=0"):
        explain.scale_ablation(by_one_scale(), data, batch_size=0)
    with pytest.raises(ValueError, match="layers of PSA, Selective"):
        explain.scale_ablation(colors(), data)
