import dataclasses

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.training import (
    IMAGENET,
    Recipe,
)

STEPS = 5004  # In an epoch of ImageNet, 1,281,167 // 256.


def rates(recipe, *steps, steps_per_epoch=STEPS):
    schedule = training.make_schedule(recipe, steps_per_epoch)
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize(
    "epoch, before, after",
    [(30, 0.1, 0.01), (60, 0.01, 1e-3), (90, 1e-3, 1e-4)],
)
def test_the_rate_falls_to_a_tenth_after_every_30_epochs(epoch, before, after):
    border = epoch * STEPS
    np.testing.assert_allclose(
        rates(IMAGENET, border - 1, border), [before, after], rtol=1e-6
    )


def test_the_first_and_the_last_step_have_the_paper_s_rates():
    np.testing.assert_allclose(
        rates(IMAGENET, 0, 120 * STEPS - 1), [0.1, 1e-4], rtol=1e-6
    )


@pytest.mark.parametrize("batch_size, rate", [(64, 0.025), (1024, 0.4)])
def test_the_rate_grows_with_the_batch(batch_size, rate):
    recipe = Recipe(batch_size=batch_size, accumulation_steps=4)
    np.testing.assert_allclose(rates(recipe, 0), [rate], rtol=1e-6)
    assert recipe.step_batch_size == batch_size // 4


def test_the_warm_up_rises_linearly_and_then_steps_are_as_without():
    recipe = Recipe(warm_up_epochs=5)
    np.testing.assert_allclose(
        rates(recipe, 0, 24, 49, 50, 299, 300, steps_per_epoch=10),
        [0.1 / 50, 0.05, 0.1, 0.1, 0.1, 0.01],
        rtol=1e-6,
    )


def test_the_cosine_falls_from_the_warm_up_to_zero():
    recipe = Recipe(schedule="cosine", warm_up_epochs=20)
    np.testing.assert_allclose(
        rates(recipe, 199, 200, 700, 1199, 1200, steps_per_epoch=10),
        [0.1, 0.1, 0.05, 0.05 * (1 - np.cos(np.pi / 1000)), 0],
        rtol=1e-4,
        atol=1e-9,
    )


def test_the_rate_is_exact_where_float32_cannot_count_steps():
    border = 30 * 1_000_000
    np.testing.assert_allclose(
        rates(IMAGENET, border - 1, border, steps_per_epoch=1_000_000),
        [0.1, 0.01],
        rtol=1e-6,
    )


def test_the_optimizer_comes_back_from_its_config_with_the_schedule():
    recipe = Recipe(warm_up_epochs=1, schedule="cosine", clipnorm=5.0)
    optimizer = training.make_optimizer(recipe, 10)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()
    assert float(copy.learning_rate) == float(optimizer.learning_rate)


def test_the_paper_s_optimizer():
    config = training.make_optimizer(IMAGENET, STEPS).get_config()
    expected = {"momentum": 0.9, "nesterov": False, "l2": 1e-4}
    assert {name: config[name] for name in expected} == expected
    assert config["global_clipnorm"] is None


# Fields of all recipes that `make_optimizer` and `make_schedule` take: other
# values than the defaults, and how to see them. The others are for the scripts.
USED = {
    "epochs": (7, lambda o, schedule: schedule["epochs"]),
    "batch_size": (512, lambda o, schedule: schedule["peak"] * 256 / 0.1),
    "accumulation_steps": (2, lambda o, _: o.gradient_accumulation_steps),
    "learning_rate": (0.5, lambda o, schedule: schedule["peak"]),
    "schedule": ("cosine", lambda o, schedule: schedule["kind"]),
    "decay_epochs": (9, lambda o, schedule: schedule["decay_epochs"]),
    "decay_factor": (0.5, lambda o, schedule: schedule["decay_factor"]),
    "warm_up_epochs": (2, lambda o, schedule: schedule["warm_up_epochs"]),
    "momentum": (0.5, lambda o, _: o.momentum),
    "nesterov": (True, lambda o, _: o.nesterov),
    "l2": (0.5, lambda o, _: o.l2),
    "l2_on_all": (
        False,
        lambda o, _: not o.get_config()["l2_exclusions"]["names"],
    ),
    "clipnorm": (2.5, lambda o, _: o.global_clipnorm),
    "backbone_rate": (
        0.5,
        lambda o, _: dict(o.get_config()["scaled_rates"]).get("w", 1.0),
    ),
}
OF_SCRIPTS = {"model", "image_size", "freeze", "ema", "precision"}
OF_SCRIPTS |= {"sync_bn", "seed"}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Recipe)])
def test_every_field_reaches_the_optimizer_or_is_for_the_scripts(field):
    if field in OF_SCRIPTS:
        assert field not in USED
        return
    value, see = USED[field]

    def seen(recipe):
        backbone = [keras.Variable([1.0], name="w")]
        optimizer = training.make_optimizer(recipe, 10, backbone)
        schedule = optimizer.get_config()["learning_rate"]["config"]
        return see(optimizer, schedule)

    assert seen(Recipe(**{field: value})) == pytest.approx(value)
    assert seen(Recipe()) != pytest.approx(value)


def test_the_average_has_the_recipe_s_share():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert training.make_average(model, Recipe(ema=0.75)).decay == 0.75
    assert training.make_average(model, Recipe()) is None


def test_a_teacher_is_not_averaged():
    teacher, student = (
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        for _ in range(2)
    )
    model = keras.distillation.Distiller(
        teacher, student, keras.distillation.LogitsDistillation()
    )
    model.compile("sgd", loss="mse")
    average = training.make_average(model, Recipe(ema=0.5))
    assert len(average.variables) == len(student.weights) + 2
    x = np.ones((4, 2), "float32")
    before = student.get_weights()
    model.fit(x, 9 * x, verbose=0, callbacks=[average])
    after = student.get_weights()
    assert average.is_in_place and any(
        (a != b).any() for a, b in zip(before, after)
    )


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("sync_bn", [True, False])
@pytest.mark.parametrize("devices", [1, 2])
def test_batch_norm_s_statistics_are_those_of_the_recipe(
    monkeypatch, backend, sync_bn, devices
):
    """JAX computes them over all devices, without an option of the layer."""
    several = object() if devices > 1 and backend == "jax" else None
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: several)
    recipe = Recipe(sync_bn=sync_bn)
    if several and not sync_bn:
        with pytest.raises(ValueError, match="Received: sync_bn=False"):
            training.synchronized(recipe)
    else:
        expected = sync_bn and backend == "tensorflow"
        assert training.synchronized(recipe) is expected


@pytest.mark.parametrize("on_all", [True, False])
def test_the_l2_term_can_leave_out_biases_and_batch_norms(on_all):
    recipe = Recipe(l2=0.5, momentum=0.0, l2_on_all=on_all, batch_size=256)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
        ]
    )
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones_like(weight))
    optimizer = training.make_optimizer(recipe, 10)
    weights = model.trainable_weights
    optimizer.apply([keras.ops.zeros_like(w) for w in weights], weights)
    values = {w.name: float(keras.ops.max(w)) for w in weights}
    rest = pytest.approx(0.95 if on_all else 1.0)
    assert values == {
        "kernel": pytest.approx(0.95),
        "bias": rest,
        "gamma": rest,
        "beta": rest,
    }


def test_adam_has_a_rate_for_the_backbone_too():
    w = keras.Variable([1.0], name="w")
    recipe = training.CocoRecipe(
        optimizer="adam", backbone_rate=0.1, warm_up_steps=None
    )
    optimizer = training.make_optimizer(recipe, 10, [w])
    assert optimizer.get_config()["scaled_rates"] == [["w", 0.1]]


def test_float16_scales_the_loss():
    optimizer = training.make_optimizer(Recipe(precision="mixed_float16"), 10)
    assert isinstance(optimizer, training.LossScale)


def test_the_loss_is_smoothed_cross_entropy_of_logits():
    logits, label = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0, 0]])
    log = logits - np.log(np.exp(logits).sum())
    expected = -np.sum((0.9 * label + 0.1 / 3) * log)
    loss = training.make_loss(IMAGENET)(label, logits)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
