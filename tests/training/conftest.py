"""What the tests of optimizers share."""

import keras
import pytest
from keras import ops


@pytest.fixture
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


@pytest.fixture
def apply():
    """Function that makes a step of an optimizer on every backend."""
    return _apply


def _apply(optimizer, gradients, variables):
    gradients = [ops.convert_to_tensor(array) for array in gradients]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    # As `fit` does; Keras' loss scaling cannot do otherwise there.
    if not optimizer.built:
        optimizer.build(variables)
    new, state = optimizer.stateless_apply(
        [v.value for v in optimizer.variables],
        gradients,
        [v.value for v in variables],
    )
    pairs = zip([*variables, *optimizer.variables], [*new, *state])
    for variable, value in pairs:
        variable.assign(value)
