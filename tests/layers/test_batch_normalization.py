import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import BatchNormalization


def test_defaults_are_those_of_pytorch():
    layer = BatchNormalization()
    assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
    assert (layer.axis, layer.norm_eval) == (-1, False)


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


def test_a_frozen_layer_keeps_its_statistics_in_training():
    layer = BatchNormalization(trainable=False)
    x = np.full((2, 3, 3, 1), 5.0, "float32")
    y = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-6)
    assert float(layer.moving_mean[0]) == 0
    assert float(layer.moving_variance[0]) == 1


def test_without_norm_eval_the_statistics_move():
    layer = BatchNormalization()
    layer(np.full((2, 3, 3, 1), 5.0), training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [0.5], atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("training", [True, False, "norm_eval"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("affine", [True, False])
def test_equals_keras_layer(axis, training, dtype, affine, value_and_gradients):
    norm_eval = training == "norm_eval"
    options = {"axis": axis, "momentum": 0.9, "epsilon": 1e-5, "dtype": dtype}
    options.update(scale=affine, center=affine)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 6)) * 3 + 1
    weight = np.random.default_rng(1).standard_normal(x.shape)
    weight = weight.astype("float32")

    def results(layer, training):
        layer.build(x.shape)
        generator = np.random.default_rng(2)
        for variable in layer.weights:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        inputs = ops.cast(x, layer.compute_dtype)
        value, gradient, gradients = value_and_gradients(
            layer,
            inputs,
            lambda y: ops.sum(ops.multiply(ops.cast(y, "float32"), weight)),
            training=training,
        )
        moving = layer.moving_mean, layer.moving_variance
        moving = [ops.convert_to_numpy(weight) for weight in moving]
        return [value, gradient, *gradients, *moving]

    tolerance = 0.05 if "bfloat16" in dtype else 1e-4
    for ours, theirs in zip(
        results(BatchNormalization(norm_eval=norm_eval, **options), training),
        results(
            keras.layers.BatchNormalization(**options),
            training and not norm_eval,
        ),
        strict=True,
    ):
        np.testing.assert_allclose(
            np.asarray(ours, "float64"),
            np.asarray(theirs, "float64"),
            rtol=tolerance,
            atol=tolerance,
        )


# What no kernel of a backend normalizes, or not of every backend.
@pytest.mark.parametrize(
    "shape, options",
    [
        ((5, 6), {}),
        ((5, 6), {"axis": 1}),
        ((4, 5, 6), {}),
        ((2, 3, 4, 5, 6), {}),
        ((2, 3, 4, 6), {"axis": 2}),
        ((2, 3, 4, 6), {"axis": 3}),
        ((2, 3, 4, 6), {"renorm": True}),
        ((2, 3, 4, 6), {"dtype": "bfloat16"}),
        ((2, 3, 4, 6), {"dtype": "mixed_float16"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [True, False])
def test_equals_keras_layer_of_other_inputs(shape, options, training):
    x = np.random.default_rng(0).standard_normal(shape) * 3 + 1
    results = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        layer = cls(**{"momentum": 0.9, "epsilon": 1e-5, **options})
        y = layer(ops.cast(x, layer.compute_dtype), training=training)
        arrays = [ops.cast(v, "float32") for v in (y, *layer.weights)]
        results.append([ops.convert_to_numpy(array) for array in arrays])
    tolerance = 0.02 if "dtype" in options else 1e-5
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_what_is_masked_is_no_part_of_the_statistics():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    mask = np.array([True, False])[:, None, None]
    layer, reference = BatchNormalization(), BatchNormalization()
    layer(x, training=True, mask=np.broadcast_to(mask, x.shape[:3]))
    reference(x[:1], training=True)
    for weight, expected in zip(layer.weights, reference.weights):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="merged by TensorFlow"
)
def test_inference_is_not_merged_into_convolutions():
    import tensorflow as tf

    def kernels(training, **options):
        layer = BatchNormalization(**options)
        graph = tf.function(layer).get_concrete_function(
            tf.TensorSpec((None, 4, 4, 8)), training=training
        )
        return {operation.type for operation in graph.graph.get_operations()}

    # Single images would be ten times slower.
    assert "FusedBatchNormV3" in kernels(training=True)
    assert "FusedBatchNormV3" not in kernels(training=False)
    # One replica's statistics are not those of all.
    assert "FusedBatchNormV3" not in kernels(True, synchronized=True)
