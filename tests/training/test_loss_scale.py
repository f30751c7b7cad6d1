import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.training import SGDL2, LossScale


def make_gradients():
    """Gradients of one matrix in six batches."""
    random = np.random.default_rng(0)
    return [[random.standard_normal((3, 4))] for _ in range(6)]


def train(apply, optimizer, gradients):
    variable = keras.Variable(np.ones((3, 4)), dtype="float64")
    for step in gradients:
        apply(optimizer, step, [variable])
    return ops.convert_to_numpy(variable)


@pytest.mark.parametrize(
    "scaler", [keras.optimizers.LossScaleOptimizer, LossScale]
)
def test_scaled_gradients_are_clipped_by_their_true_norm(
    float64, apply, scaler
):
    gradients = make_gradients()
    scaled = [[2.0**15 * array for array in step] for step in gradients]
    settings = {"l2": 0.05, "global_clipnorm": 3.0}
    expected = train(apply, SGDL2(0.1, **settings), gradients)
    actual = train(apply, scaler(SGDL2(0.1, **settings)), scaled)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_batch_with_non_finite_gradients_is_left_out(float64, apply, bad):
    gradients = make_gradients()
    scaled = [[2.0**4 * array for array in step] for step in gradients]
    overflow = [np.full_like(array, bad) for array in gradients[0]]
    halved = [[array / 2 for array in step] for step in scaled]
    settings = {"gradient_accumulation_steps": 3, "global_clipnorm": 1.0}
    expected = train(apply, SGDL2(**settings), gradients)
    optimizer = LossScale(SGDL2(**settings), initial_scale=2.0**4)
    # In the middle of an accumulation; the scale is halved after it.
    actual = train(apply, optimizer, [*scaled[:1], overflow, *halved[1:]])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    assert float(optimizer.dynamic_scale) == 2.0**3


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", "mixed_float16"], indirect=True
)
@pytest.mark.parametrize("steps", [None, 2])
def test_fit_in_mixed_precision(policy, steps):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = SGDL2(
        0.1,
        global_clipnorm=1.0,
        gradient_accumulation_steps=steps,
    )
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    assert policy != "mixed_float16" or isinstance(
        model.optimizer, keras.optimizers.LossScaleOptimizer
    )
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = x[:, :3].argmax(-1)
    history = model.fit(x, y, batch_size=8, epochs=8, verbose=0, shuffle=False)
    losses = history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert int(optimizer.iterations) == 64 // (steps or 1)


def test_a_step_that_is_left_out_does_not_count(float64, apply):
    """It neither moves the schedule nor an accumulation of gradients."""
    optimizer = LossScale(SGDL2(0.1), initial_scale=4.0)
    overflow = [[np.full((3, 4), np.inf)]]
    train(apply, optimizer, [*overflow, *make_gradients(), *overflow])
    assert int(optimizer.iterations) == 6


def test_exclusions_reach_the_optimizer_inside(apply):
    names = ("bias", "kernel", "gamma")
    variables = [keras.Variable(np.ones(2), name=name) for name in names]
    optimizer = LossScale(SGDL2(0.5, momentum=0, l2=0.5), initial_scale=1.0)
    optimizer.exclude_from_weight_decay(variables[:1], ["gamma"])
    apply(optimizer, [np.zeros(2)] * 3, variables)
    found = [ops.convert_to_numpy(variable)[0] for variable in variables]
    assert found == [1, 0.75, 1]


def test_survives_serialisation():
    inner = SGDL2(0.5, l2=0.25)
    settings = {"initial_scale": 8.0, "dynamic_growth_steps": 7, "name": "mine"}
    optimizer = LossScale(inner, **settings)
    config = optimizer.get_config()
    inner = keras.saving.serialize_keras_object(inner)
    assert config == {**settings, "inner_optimizer": inner}
    arguments = set(inspect.signature(LossScale.__init__).parameters)
    assert arguments == {"self", "kwargs", *config}
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is LossScale and copy.get_config() == config


def test_defaults_are_keras_own():
    keras_own = keras.optimizers.LossScaleOptimizer(SGDL2()).get_config()
    config = LossScale(SGDL2()).get_config()
    for name in ("initial_scale", "dynamic_growth_steps"):
        assert config[name] == keras_own[name]
