import keras
import numpy as np
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.layers.composite import CompositeLayer


def test_starts_as_pytorchs():
    dense = make_dense(CompositeLayer(), "fc", 1, 1024, 256)
    assert dense.built and dense.name == "fc"
    for weight in dense.weights:
        values = ops.convert_to_numpy(weight)
        assert 0.95 / 32 < np.abs(values).max() <= 1 / 32
        np.testing.assert_allclose(values.var(), 1 / 1024 / 3, rtol=0.25)


def test_arguments_of_the_layer_come_first():
    layer = CompositeLayer(kernel_initializer="ones", trainable=False)
    dense = make_dense(
        layer, "fc", 1, 4, 2, kernel_initializer="zeros", use_bias=False
    )
    assert ops.convert_to_numpy(dense.kernel).all()
    assert not dense.trainable and dense.bias is None
    dense = make_dense(
        CompositeLayer(), "fc", 1, 4, 2, kernel_initializer="zeros"
    )
    assert not ops.convert_to_numpy(dense.kernel).any()


def test_the_factor_of_lora_comes_back_from_the_config():
    layer = CompositeLayer()
    layer.fc = make_dense(layer, "fc", 1, 8, 4)
    layer.fc.enable_lora(3, lora_alpha=6)
    copy = CompositeLayer.from_config(layer.get_config())
    dense = make_dense(copy, "fc", 1, 8, 4)
    assert isinstance(dense, keras.layers.Dense)
    assert (dense.lora_rank, dense.lora_alpha) == (3, 6)
