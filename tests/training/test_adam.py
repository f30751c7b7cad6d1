import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.training import ScaledAdam

SHAPES = ((3, 4), (4,))
STEPS = 6


def train(apply, optimizer):
    """Returns the weights and the optimizer's variables after all steps."""
    random = np.random.default_rng(0)
    variables = [
        keras.Variable(random.normal(size=shape), dtype="float64", name=name)
        for shape, name in zip(SHAPES, ("kernel", "bias"))
    ]
    optimizer.build(variables)
    for scale in np.linspace(0.1, 2, STEPS):
        step = [scale * random.normal(size=shape) for shape in SHAPES]
        apply(optimizer, step, variables)
    found = [*variables, *optimizer.variables]
    return [ops.convert_to_numpy(variable) for variable in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.1},
        {"amsgrad": True},
        {"weight_decay": 0.1},
        {"global_clipnorm": 2.0},
        {"clipnorm": 1.0},
        {"clipvalue": 0.5},
        {
            "learning_rate": keras.optimizers.schedules.ExponentialDecay(
                0.1, 1, 0.5
            )
        },
    ],
    ids=lambda options: next(iter(options), "default"),
)
@pytest.mark.parametrize("accumulated", [None, 2])
def test_on_one_device_it_is_keras_own(float64, apply, options, accumulated):
    options = {"learning_rate": 0.1, **options}
    if accumulated:
        options["gradient_accumulation_steps"] = accumulated
    found, expected = (
        train(apply, kind(**options))
        for kind in (ScaledAdam, keras.optimizers.Adam)
    )
    # Clipping adds a millionth to the norm, as PyTorch does, and Keras rounds
    # the factor of the decay, and on PyTorch numbers of `amsgrad`, to float32.
    rounded = {"global_clipnorm": 1e-5, "weight_decay": 1e-7, "amsgrad": 1e-6}
    tolerance = max(rounded.get(name, 1e-12) for name in options)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


def test_keras_own_average_of_weights_is_refused():
    with pytest.raises(ValueError, match="Received: use_ema=True"):
        ScaledAdam(use_ema=True)
    before = (0.02, 0.9, 0.999, 1e-7, False, None, None, None, None)
    with pytest.raises(ValueError, match="Received: use_ema=True"):
        ScaledAdam(*before, True)
    ScaledAdam(*before, False)


def test_it_is_refused_later_too():
    optimizer = ScaledAdam()
    with pytest.raises(ValueError, match="Received: use_ema=True"):
        optimizer.use_ema = True
    assert not optimizer.use_ema
    assert not optimizer.get_config()["use_ema"]


def test_excluded_variables_have_no_decay(float64, apply):
    optimizers = [ScaledAdam(weight_decay=0.5) for _ in range(2)]
    optimizers[1].exclude_from_weight_decay(var_names=["bias"])
    (kernel, bias, *_), (same, free, *_) = (train(apply, o) for o in optimizers)
    np.testing.assert_array_equal(kernel, same)
    assert abs(bias - free).max() > 1e-4
