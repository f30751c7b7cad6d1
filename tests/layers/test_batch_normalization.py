import numpy as np
from keras import ops

from keras_epsanet.layers import BatchNormalization


def test_defaults_are_those_of_pytorch():
    layer = BatchNormalization()
    assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


def test_norm_eval_keeps_statistics_and_trains_scale_and_shift(
    value_and_gradients,
):
    layer = BatchNormalization(norm_eval=True)
    x = np.random.default_rng(0).standard_normal((4, 3, 3, 2)) * 3 + 1
    x = x.astype("float32")
    layer.build(x.shape)
    before = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    expected = x / np.sqrt(1 + 1e-5)
    y = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    _, _, gradients = value_and_gradients(
        layer, x, lambda y: ops.mean(y**2), training=True
    )
    assert len(gradients) == 2 and all(g.any() for g in gradients)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before[0])
    np.testing.assert_array_equal(layer.moving_variance.numpy(), before[1])


def test_without_norm_eval_the_statistics_move():
    layer = BatchNormalization()
    layer(np.full((2, 3, 3, 1), 5.0), training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [0.5], atol=1e-6)


def test_config_round_trip():
    config = BatchNormalization(axis=1, norm_eval=True, name="b").get_config()
    assert config["norm_eval"] is True
    assert BatchNormalization.from_config(config).get_config() == config
