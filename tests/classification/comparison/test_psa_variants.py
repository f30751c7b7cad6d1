import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.classification.comparison.psa_variants import (
    PSA_VARIANTS,
    SeparatePSA,
    SigmoidPSA,
)
from keras_epsanet.layers import PSA


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 6, 6, 64)).astype("float32")


def attention(layer, x):
    return ops.convert_to_numpy(layer(x, return_attention=True)[1])


def test_without_softmax_a_scale_has_the_weight_of_its_se(x):
    psa, sigmoid = PSA(64), SigmoidPSA(64)
    for layer in (psa, sigmoid):
        layer.build(x.shape)
    sigmoid.set_weights(psa.get_weights())
    weights = attention(sigmoid, x)
    assert (weights > 0).all() and (weights < 1).all()
    competing = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(attention(psa, x), competing, atol=1e-6)


def test_separate_se_is_psa_where_all_have_the_same_weights(x):
    psa, separate = PSA(64), SeparatePSA(64)
    for layer in (psa, separate):
        layer.build(x.shape)
    separate.spc.set_weights(psa.spc.get_weights())
    for se in (separate.se, *separate.others):
        se.set_weights(psa.se.get_weights())
    np.testing.assert_allclose(
        attention(separate, x), attention(psa, x), atol=1e-6
    )
    bias = separate.others[1].fc2.bias  # Of the third scale.
    bias.assign(bias + 5)
    changed = np.abs(attention(separate, x) - attention(psa, x)).mean((0, 2))
    assert changed.argmax() == 2


@pytest.mark.parametrize("name", PSA_VARIANTS)
def test_every_variant_is_saved_and_loaded(name, x, tmp_path):
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, PSA_VARIANTS[name](64, 1)(image))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x))
    )
    assert type(loaded.layers[-1]) is type(model.layers[-1])
