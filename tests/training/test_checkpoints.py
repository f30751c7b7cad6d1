import pytest

from keras_epsanet.training import State


@pytest.mark.parametrize(
    "step, logs, epoch, logged",
    [
        (0, None, 0, 0),
        (4, None, 0, 0),
        (5, None, 1, 1),
        (5, {"loss": 1.0}, 1, 0),  # Trained, but not evaluated.
        (14, None, 2, 2),
        (15, {}, 3, 2),
    ],
)
def test_epochs_are_logged_when_they_are_evaluated(step, logs, epoch, logged):
    state = State(step=step, steps_per_epoch=5, logs=logs)
    assert (state.epoch, state.logged_epochs) == (epoch, logged)
