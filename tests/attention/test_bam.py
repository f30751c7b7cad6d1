import keras
import numpy as np
from equations import bam, values

from keras_epsanet.attention import BAM


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        w1, b1, bn1 = values(layer.fc1.kernel, layer.fc1.bias, layer.norm)
        w2, b2 = values(layer.fc2.kernel, layer.fc2.bias)
        stages = [
            values(conv.kernel, conv.bias, norm)
            for conv, norm in zip((layer.reduce, *layer.dilated), layer.norms)
        ]
        final = values(layer.final.kernel, layer.final.bias)
        return bam(x, w1, b1, bn1, w2, b2, stages, *final)

    check_equation(
        lambda **kwargs: BAM(4, **kwargs), equation, (2, *size, 16), dtype
    )


def test_initial_values_are_those_of_the_published_code():
    layer = BAM(4)
    layer.build((None, 4, 4, 256))
    for part in (layer.fc1, layer.fc2, layer.reduce, layer.final):
        assert not np.any(values(part.bias))
    for conv in layer.dilated:
        assert not np.any(values(conv.bias))
        variance = np.var(values(conv.kernel)[0])
        np.testing.assert_allclose(variance, 2 / 9 / 64, rtol=0.1)
    assert {norm.momentum for norm in (layer.norm, *layer.norms)} == {0.9}


def test_the_published_number_of_parameters():
    parameters = 0
    for channels in (256, 512, 1024):
        layer = BAM()
        layer.build((None, 14, 14, channels))
        parameters += sum(np.prod(w.shape) for w in layer.trainable_weights)
    assert parameters == 358_067


def test_convolutions_of_one_seed_start_with_numbers_of_their_own():
    initializer = keras.initializers.RandomNormal(seed=3)
    layer = BAM(4, kernel_initializer=initializer)
    layer.build((None, 4, 4, 16))
    first, second = (values(conv.kernel)[0] for conv in layer.dilated)
    assert first.shape == second.shape and np.all(first != second)


def test_arguments_and_training(check_contract):
    check_contract(BAM, reduction=16, dilation_rate=4)
