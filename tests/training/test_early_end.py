import types

import pytest

from keras_epsanet.training import ClassifierRecipe, State, early_end


@pytest.mark.parametrize(
    "step, best, patience, finished",
    [
        (0, None, None, False),
        (11, 3, None, False),
        (12, 3, None, True),
        (6, 3, 1, True),
        (6, 6, 1, False),
        (6, 3, 2, False),
        (8, 3, 1, False),  # In the middle of an epoch.
        (6, 0, 2, True),
        (9, None, 1, False),  # Whose best epoch is lost.
    ],
)
def test_a_training_ends_with_its_epochs_or_its_patience(
    step, best, patience, finished
):
    recipe = ClassifierRecipe(epochs=4, patience=patience)
    state = State(step=step, steps_per_epoch=3, best_step=best)
    found = early_end.is_finished(recipe, state)
    assert found == finished


@pytest.mark.parametrize("epoch, stops", [(2, False), (3, True)])
def test_fit_ends_when_it_is_finished(epoch, stops):
    recipe = ClassifierRecipe(epochs=9, patience=2)
    state = State(step=3 * epoch, steps_per_epoch=3, best_step=3)
    callback = early_end.EndEarly(recipe, state)
    callback.set_model(types.SimpleNamespace(stop_training=False))
    callback.on_epoch_end(epoch - 1)
    assert callback.model.stop_training == stops
    assert early_end.best_epoch(state) == 1
