import keras
import numpy as np
import pytest
from keras import layers

import keras_epsanet
from keras_epsanet import recalibrate_batch_norm
from keras_epsanet.layers import BatchNormalization

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 2, (10, 6, 5, 3)).astype("float32")
NORMS = (layers.BatchNormalization, BatchNormalization)


def array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def statistics(norm):
    return array(norm.moving_mean), array(norm.moving_variance)


def state(model):
    return {v.path: array(v) for v in model.variables}


def assert_unchanged(model, before, but=()):
    changed = [
        name
        for name, value in state(model).items()
        if not np.array_equal(value, before[name])
    ]
    assert sorted(changed) == sorted(but)


def mean_moments(batches, axis=-1):
    """Mean of the batches' moments, each by its number of images."""
    axes = tuple(np.delete(np.arange(batches[0].ndim), axis))
    weights = [len(x) for x in batches]
    return [
        np.average([f(x, axes) for x in batches], axis=0, weights=weights)
        for f in (np.mean, np.var)
    ]


def assert_close(norm, expected):
    for value, wanted in zip(statistics(norm), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("cls", NORMS)
def test_statistics_are_the_means_of_those_of_the_batches(
    randomize, cls, data_format
):
    axis = -1 if data_format == "channels_last" else 1
    x = X if axis == -1 else X.transpose(0, 3, 1, 2)
    image = keras.Input(x.shape[1:])
    y = layers.Conv2D(8, 1, data_format=data_format)(image)
    y = layers.ReLU()(cls(axis=axis)(y))
    y = layers.Conv2D(4, 1, data_format=data_format)(y)
    y = cls(axis=axis, momentum=1.0)(y)
    model = randomize(keras.Model(image, y))
    before = state(model)
    recalibrate_batch_norm(model, x, batch_size=4)

    _, first, norm, _, second, last = model.layers
    features = [X[:4], X[4:8], X[8:]]
    features = [
        b @ array(first.kernel)[0, 0] + array(first.bias) for b in features
    ]
    assert_close(norm, mean_moments(features))
    for i, b in enumerate(features):
        b = (b - b.mean((0, 1, 2))) / np.sqrt(b.var((0, 1, 2)) + norm.epsilon)
        b = np.maximum(b * array(norm.gamma) + array(norm.beta), 0)
        features[i] = b @ array(second.kernel)[0, 0] + array(second.bias)
    assert_close(last, mean_moments(features))
    moved = [norm.moving_mean, norm.moving_variance]
    moved += [last.moving_mean, last.moving_variance]
    assert_unchanged(model, before, but=[v.path for v in moved])
    assert last.momentum == 1.0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float64"])
@pytest.mark.parametrize("cls", NORMS)
def test_other_precisions(cls, policy):
    norm = cls(dtype=policy)
    model = keras.Sequential([keras.Input(X.shape[1:]), norm])
    recalibrate_batch_norm(model, X, batch_size=5)
    seen = array(
        keras.ops.cast(keras.ops.cast(X, norm.compute_dtype), "float32")
    )
    expected = mean_moments([seen[:5], seen[5:]])
    if policy == "bfloat16":  # Of the variables too.
        for value, wanted in zip(statistics(norm), expected):
            np.testing.assert_allclose(
                value.astype("float32"), wanted, rtol=2**-7, atol=2**-7
            )
    else:
        assert_close(norm, expected)


def test_each_call_of_a_shared_layer_counts():
    norm = layers.BatchNormalization()
    inputs = keras.Input((2,)), keras.Input((2,))
    model = keras.Model(inputs, [norm(x) for x in inputs])
    a, b = RANDOM.normal(0, 1, (4, 2)), RANDOM.normal(3, 2, (4, 2))
    recalibrate_batch_norm(model, ([a, b],))
    assert_close(norm, mean_moments([a, b]))


def test_layers_in_models_and_in_other_layers():
    norms = [BatchNormalization(name=f"norm_{i}") for i in range(3)]
    inner = keras.Sequential([keras.Input((3,)), norms[0]])
    middle = keras.Sequential([keras.Input((3,)), inner, norms[1]])
    series, vector = keras.Input((2, 3)), keras.Input((3,))
    outputs = [
        layers.TimeDistributed(norms[2])(series),
        layers.TimeDistributed(middle)(series),
        middle(vector),
    ]
    model = keras.Model([series, vector], outputs)
    x, y = RANDOM.normal(1, 2, (8, 2, 3)), RANDOM.normal(3, 1, (8, 3))
    recalibrate_batch_norm(model, ([x, y],))
    calls = [x[:, 0], x[:, 1], y]
    assert_close(norms[2], mean_moments(calls[:2]))
    assert_close(norms[0], mean_moments(calls))
    variances = np.array([call.var(0) for call in calls])
    assert_close(norms[1], (0, np.mean(variances / (variances + 1e-5), 0)))


class Own(keras.Model):
    """Not functional: with a call of its own."""

    def __init__(self):
        super().__init__()
        self.norms = [layers.BatchNormalization(), BatchNormalization()]

    def call(self, inputs, training=None):
        x = self.norms[0](inputs["a"], training=training)
        return x + self.norms[1](inputs["b"], training=training)


def test_a_model_with_a_call_of_its_own():
    model = Own()
    with pytest.raises(ValueError, match="must be built.*batch_norm"):
        recalibrate_batch_norm(model, {"a": X, "b": 2 * X})
    model({"a": X, "b": X})
    recalibrate_batch_norm(model, {"a": X, "b": 2 * X})
    assert_close(model.norms[0], mean_moments([X]))
    assert_close(model.norms[1], mean_moments([2 * X]))


def test_layers_that_do_not_learn_are_left_alone():
    image = keras.Input(X.shape[1:])
    frozen = layers.BatchNormalization(trainable=False)(image)
    kept = BatchNormalization(norm_eval=True)(image)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(image, [frozen, kept, norm(image)])
    before = state(model)
    recalibrate_batch_norm(model, X)
    but = [norm.moving_mean.path, norm.moving_variance.path]
    assert_unchanged(model, before, but)
    assert_close(norm, mean_moments([X]))


class Inference(keras.Model):
    """Calls one of its layers in training and in inference."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization(epsilon=0.0)
        self.unused = layers.BatchNormalization()
        self.last = layers.BatchNormalization()

    def call(self, inputs, training=None):
        x = self.norm(inputs, training=training)
        x = x + self.unused(inputs, training=False)
        return x + self.last(
            self.norm(inputs, training=False), training=training
        )


def test_calls_of_inference_use_and_keep_the_former_statistics():
    model = Inference()
    model(X)
    model.norm.moving_mean.assign([1.0, 2.0, 3.0])
    model.unused.moving_mean.assign([1.0, 2.0, 3.0])
    recalibrate_batch_norm(model, X)
    assert_close(model.norm, mean_moments([X]))
    assert_close(model.last, mean_moments([X - np.array([1.0, 2.0, 3.0])]))
    assert_close(model.unused, ([1, 2, 3], [1, 1, 1]))


class AlwaysInference(keras.layers.BatchNormalization):
    def call(self, inputs, training=None):
        return super().call(inputs, training=False)


def noisy_model():
    image = keras.Input(X.shape[1:])
    x = layers.Dropout(0.5, seed=3)(BatchNormalization()(image))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def test_nothing_else_changes_and_the_same_comes_out_again():
    model = noisy_model()
    y = np.ones((10, 4))
    model.fit(X, y, verbose=0)
    norm = model.layers[-2]
    before, slots = state(model), [array(v) for v in model.optimizer.variables]
    recalibrate_batch_norm(model, X, batch_size=5)
    moved = [path for path in before if path.endswith(("_mean", "_variance"))]
    assert_unchanged(model, before, moved)
    for now, then in zip(model.optimizer.variables, slots, strict=True):
        np.testing.assert_array_equal(array(now), then)
    after = state(model)
    recalibrate_batch_norm(model, X, batch_size=5)
    assert_unchanged(model, after)
    # Every batch has noise of its own.
    recalibrate_batch_norm(model, [X, X])
    twice = statistics(norm)[0]
    recalibrate_batch_norm(model, [X])
    assert not np.array_equal(statistics(norm)[0], twice)
    # Training goes on as it would have.
    assert "call" not in vars(norm) and norm.momentum == 0.99
    mean = statistics(norm)[0]
    model.fit(X, y, verbose=0)
    assert 0 < np.abs(statistics(norm)[0] - mean).max() < 0.05


def test_all_is_as_before_if_the_data_fail():
    model = noisy_model()
    before = state(model)

    def batches():
        yield X
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        recalibrate_batch_norm(model, batches())
    with pytest.raises(ValueError, match="not finite, first in layer batch_n"):
        recalibrate_batch_norm(model, [X, X * np.nan])
    assert_unchanged(model, before)
    for norm in (model.layers[1], model.layers[-2]):
        assert "call" not in vars(norm) and norm.momentum in (0.9, 0.99)


def test_all_is_as_before_if_the_model_fails():
    is_broken = []

    def pass_on(x):
        if is_broken:
            raise RuntimeError("the layer is broken")
        return x

    # Keras synchronizes on TensorFlow alone.
    synchronized = keras.backend.backend() == "tensorflow"
    norm = layers.BatchNormalization(synchronized=synchronized)
    image = keras.Input(X.shape[1:])
    model = keras.Model(image, layers.Lambda(pass_on)(norm(image)))
    before = state(model)
    is_broken.append(True)
    with pytest.raises(Exception, match="the layer is broken"):
        recalibrate_batch_norm(model, X)
    assert_unchanged(model, before)
    assert "call" not in vars(norm) and norm.momentum == 0.99
    assert norm.synchronized == synchronized


def test_former_statistics_that_are_not_finite_are_forgotten():
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input(X.shape[1:]), norm])
    norm.moving_mean.assign(3 * [np.nan])
    norm.moving_variance.assign(3 * [np.inf])
    recalibrate_batch_norm(model, X)
    assert_close(norm, mean_moments([X]))


def test_many_batches_are_averaged_without_loss():
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((1,)), norm])
    x = RANDOM.normal(1000, 1, (600, 1)).astype("float32")
    recalibrate_batch_norm(model, x, batch_size=2)
    mean = x.astype("float64").mean(0)
    np.testing.assert_allclose(statistics(norm)[0], mean, rtol=1e-7)


def test_renormalization_averages_deviations():
    norm = layers.BatchNormalization(renorm=True)
    model = keras.Sequential([keras.Input(X.shape[1:]), norm])
    before = state(model)
    recalibrate_batch_norm(model, X, batch_size=5)
    parts = X[:5], X[5:]
    spread = [np.sqrt(x.var((0, 1, 2)) + norm.epsilon) for x in parts]
    spread = np.mean(spread, 0)
    np.testing.assert_allclose(array(norm.moving_stddev), spread, rtol=1e-5)
    assert_close(norm, (X.mean((0, 1, 2)), spread**2 - norm.epsilon))
    moved = norm.moving_mean, norm.moving_variance, norm.moving_stddev
    assert_unchanged(model, before, [v.path for v in moved])


def test_steps_and_progress(capsys):
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input(X.shape[1:]), norm])
    rest = iter([X[:2], X[2:4], X[4:]])
    recalibrate_batch_norm(model, rest, steps=2)
    assert_close(norm, mean_moments([X[:2], X[2:4]]))
    assert len(list(rest)) == 1
    assert capsys.readouterr().out == ""
    recalibrate_batch_norm(model, X, steps=2, batch_size=3, verbose=1)
    assert "2/2" in capsys.readouterr().out


def test_whole_network():
    model = keras_epsanet.EPSANet(
        (1,), (16,), (3, 5), (1, 4), reduction=4, input_shape=(32, 32, 3)
    )
    before = state(model)
    x = RANDOM.integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    recalibrate_batch_norm(model, x, batch_size=3)
    moved = [path for path in before if "moving_" in path]
    assert_unchanged(model, before, moved)


def test_refuses_with_the_reason():
    image = keras.Input((3,))
    model = keras.Model(image, layers.Dense(2)(image))
    with pytest.raises(ValueError, match="has no BatchNorm.*Received: model="):
        recalibrate_batch_norm(model, np.ones((2, 3)))
    norm = layers.BatchNormalization()
    model = keras.Model(image, norm(image))
    for empty in (np.ones((0, 3)), [], iter(())):
        with pytest.raises(ValueError, match="must hold images.*Received"):
            recalibrate_batch_norm(model, empty)
    with pytest.raises(ValueError, match="`steps` must be.*Received: steps=0"):
        recalibrate_batch_norm(model, np.ones((2, 3)), steps=0)
    model.trainable = False
    with pytest.raises(ValueError, match="learns statistics: all have `train"):
        recalibrate_batch_norm(model, np.ones((2, 3)))
    model = keras.Model(image, AlwaysInference()(image))
    with pytest.raises(ValueError, match="are called with `training=False`"):
        recalibrate_batch_norm(model, np.ones((2, 3)))


REPLICAS = """
import keras, numpy as np, tensorflow as tf

from keras_epsanet import recalibrate_batch_norm

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
with strategy.scope():
    image = keras.Input((4, 4, 3))
    norm = keras.layers.BatchNormalization(synchronized=True)
    model = keras.Model(image, norm(image))
    model.compile("sgd", "mse")
x = np.random.default_rng(0).normal(2, 3, (8, 4, 4, 3)).astype("float32")
model.fit(x, x, batch_size=4, verbose=0)
recalibrate_batch_norm(model, x, batch_size=4)
assert norm.synchronized
parts = np.split(x, 2)
means = norm.moving_mean, np.mean
variances = norm.moving_variance, np.var
for variable, moment in (means, variances):
    wanted = np.mean([moment(part, (0, 1, 2)) for part in parts], 0)
    local = strategy.experimental_local_results(variable.value)
    assert len(local) == 2
    for value in local:
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-5)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_all_replicas_get_the_statistics(run_python):
    run_python(REPLICAS)
