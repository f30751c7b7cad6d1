"""A training that ends when it has stopped getting better."""

import keras


def is_finished(recipe, state):
    """Whether a training has had all of its epochs, or enough of them.

    Args:
        recipe: Recipe with a `patience`.
        state: `State`.
    """
    if state.epoch >= recipe.epochs:
        return True
    if recipe.patience is None or state.best_step is None:
        return False
    if state.step % state.steps_per_epoch:
        return False
    return state.epoch - best_epoch(state) >= recipe.patience


def best_epoch(state):
    """Integer, the epoch that was the best, from 1 on; 0 for the start."""
    return state.best_step // state.steps_per_epoch


class EndEarly(keras.callbacks.Callback):
    """Ends a training that has had as many epochs as its recipe allows.

    Put it behind `Checkpointing`, which keeps the state up to date.

    Args:
        recipe: Recipe with a `patience`.
        state: `State`.
    """

    def __init__(self, recipe, state):
        super().__init__()
        self.recipe = recipe
        self.state = state

    def on_epoch_end(self, epoch, logs=None):
        if is_finished(self.recipe, self.state):
            self.model.stop_training = True
