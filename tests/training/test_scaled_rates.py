import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.training import SGDL2, ScaledAdam

OPTIMIZERS = {
    "sgd": lambda rate: SGDL2(rate, momentum=0.9, nesterov=True, l2=0.1),
    "adam": ScaledAdam,
}


def steps_of(apply, optimizer, variables):
    gradients = np.random.default_rng(0).normal(size=(5, 2, 3))
    for pair in gradients:
        apply(optimizer, list(pair), variables)
    return [ops.convert_to_numpy(v) for v in variables]


def pair():
    return [
        keras.Variable(np.arange(3.0), dtype="float64", name=name)
        for name in ("slow", "fast")
    ]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_scaled_variable_trains_as_with_another_rate(float64, apply, kind):
    make = OPTIMIZERS[kind]
    slow, fast = pair()
    optimizer = make(0.1)
    optimizer.scale_rate([slow], 0.25)
    found = steps_of(apply, optimizer, [slow, fast])
    expected = [
        steps_of(apply, make(rate), pair())[i]
        for i, rate in enumerate((0.1 * 0.25, 0.1))
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_scaled_variables_are_known_after_loading(apply, tmp_path, kind):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = OPTIMIZERS[kind](0.1)
    optimizer.scale_rate([model.layers[0].bias], 0.25)
    model.compile(optimizer, "mse")
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    kernel, bias = model.trainable_weights
    kernel.assign(np.zeros((4, 3)))
    apply(model.optimizer, [np.ones((4, 3)), np.ones(3)], [kernel, bias])
    steps = [abs(ops.convert_to_numpy(v)).max() for v in (kernel, bias)]
    assert steps[1] == pytest.approx(0.25 * steps[0], rel=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_replicas_scale_alike(run_python, kind):
    run_python(
        f"""
import keras, numpy as np, tensorflow as tf
from keras_epsanet.training import ScaledAdam
from keras_epsanet.training import SGDL2

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
)
def train(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.layers[0].kernel.assign([[1.0], [2.0]])
        optimizer = dict(sgd=SGDL2, adam=ScaledAdam)["{kind}"](0.1)
        optimizer.scale_rate([model.layers[0].kernel], 0.25)
        model.compile(optimizer, "mse", jit_compile=False)
    x = np.arange(8, dtype="float32").reshape(4, 2)
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, shuffle=False)
    return model.get_weights()

one = train(tf.distribute.get_strategy())
two = train(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]))
for a, b in zip(one, two):
    np.testing.assert_allclose(a, b, rtol=1e-5)
"""
    )


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_scaling_comes_before_building(kind):
    optimizer = OPTIMIZERS[kind](0.1)
    optimizer.build(pair())
    with pytest.raises(ValueError, match="Received: 1 variables, factor=0.5"):
        optimizer.scale_rate(pair()[:1], 0.5)


def test_a_variable_that_is_not_there_is_named():
    optimizer = SGDL2()
    optimizer.scale_rate([keras.Variable([1.0], name="gone")], 0.5)
    with pytest.warns(UserWarning, match="No variable has the path gone"):
        optimizer.build(pair())


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_a_factor_is_positive(factor):
    with pytest.raises(ValueError, match=f"Received: factor={factor}"):
        SGDL2().scale_rate(pair(), factor)
