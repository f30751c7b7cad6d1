import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas of TensorFlow", allow_module_level=True)

# Keras takes a third of a loss in float32.
TRAIN = """
import keras, numpy as np, tensorflow as tf
from keras_epsanet.training import SGDL2, ScaledAdam

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 3 * [tf.config.LogicalDeviceConfiguration()]
)
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
x = np.random.default_rng(0).normal(size=(36, 2))

def train(strategy, **options):
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.layers[0].kernel.assign([[1.0], [2.0]])
        model.compile({kind}(0.1, **options), "mse", jit_compile=False)
    model.fit(x, 9 * x[:, :1], batch_size=6, verbose=0, shuffle=False)
    return model.get_weights()

one = tf.distribute.get_strategy()
three = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"])
for parts in (dict(), dict(gradient_accumulation_steps=2)):
    free = train(one, **parts)
    for clip in (
        dict(global_clipnorm=2.0), dict(clipnorm=2.0), dict(clipvalue=1.0)
    ):
        expected, found = (
            train(strategy, **clip, **parts) for strategy in (one, three)
        )
        for a, b, c in zip(expected, found, free):
            np.testing.assert_allclose(a, b, rtol=1e-7)
            assert abs(a - c).max() > 1e-4, (clip, parts)  # It was clipped.
"""


@pytest.mark.parametrize("kind", ["SGDL2", "ScaledAdam"])
def test_what_is_clipped_is_the_gradient_of_all_devices(run_python, kind):
    run_python(TRAIN.format(kind=kind))
