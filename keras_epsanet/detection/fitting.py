"""Trains a detector in a run folder, from wherever it was."""

import keras

from keras_epsanet import training
from keras_epsanet.data import coco
from keras_epsanet.detection.from_recipe import has_masks, make_batches
from keras_epsanet.distribution.workers import gather_objects
from keras_epsanet.training.early_end import EndEarly, is_finished


class BadImages(keras.callbacks.Callback):
    """Names the images that were skipped in an epoch, and logs their number.

    Put it before the callbacks that write logs. It adds `bad_images`, the
    number since the start of the process, of all workers together.

    Args:
        annotations: List of `keras_epsanet.data.coco.Annotations`.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
    """

    def __init__(self, annotations, strategy):
        super().__init__()
        self.annotations = annotations
        self.strategy = strategy
        self._named = set()

    def on_epoch_end(self, epoch, logs=None):
        own = [name for part in self.annotations for name in part.bad]
        of_all = gather_objects(own, self.strategy)
        # Each once, whichever images are read again in every epoch.
        names = dict.fromkeys(name for names in of_all for name in names)
        new = [name for name in names if name not in self._named]
        if new and training.is_chief(self.strategy):
            print(f"\n{len(new)} images are bad:", *new, sep="\n")
        self._named.update(names)
        logs["bad_images"] = len(names)


def count_steps(annotations, recipe):
    """Counts the steps of `fit` in an epoch.

    Args:
        annotations: `keras_epsanet.data.coco.Annotations` to train with.
        recipe: `CocoRecipe`.

    Returns:
        Positive integer.

    Raises:
        ValueError: If there are less images with objects than a step has.
    """
    number = len(coco.training_images(annotations, has_masks(recipe)))
    if number < recipe.step_batch_size:
        raise ValueError(
            "A batch needs more images with objects than there are. Received: "
            f"batch_size={recipe.step_batch_size}, {number} images with "
            f"objects in {annotations.path}"
        )
    return number // recipe.step_batch_size


def fit(
    model,
    average,
    strategy,
    annotations,
    run,
    state,
    evaluator,
    interruption,
    checkpoint_steps,
):
    """Trains from the step of `state` to the end.

    An epoch is saved before it is evaluated. One that was not evaluated, for
    that failed, is evaluated first.

    Args:
        model: Compiled detector.
        average: `WeightAverage` of the model, or `None`.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        annotations: Dictionary of the `keras_epsanet.data.coco.Annotations`
            `"train"` and `"val"`.
        run: `RunFolder`.
        state: `State`, which is kept up to date.
        evaluator: `CocoEvaluator`, whose `on_batch` becomes the watchdog's.
        interruption: `Interruption`.
        checkpoint_steps: Integer, steps from one checkpoint to the next.

    Raises:
        SystemExit: If `interruption` is requested, after it was saved.
        FloatingPointError: If the loss or a weight is not finite.
    """
    recipe, steps = run.recipe, state.steps_per_epoch
    if run.is_chief:
        training.trim_csv(f"{run.path}/log.csv", state.logged_epochs)
    bad = BadImages(list(annotations.values()), strategy)
    watchdogs = training.watchdogs(strategy)
    for watchdog in watchdogs:
        evaluator.on_batch = watchdog.restart

    def callbacks(waited):
        return [
            *watchdogs,
            *([average] if average else []),
            evaluator,
            training.EpochLog(
                training.make_schedule(recipe, steps),
                recipe.step_batch_size,
                waited,
            ),
            bad,
            *training.make_logs(run),
            training.Checkpointing(
                run,
                state,
                checkpoint_steps,
                interruption,
                training.any_worker(strategy),
                monitor="val_AP",
                average=average,
                before_evaluation=True,
            ),
            EndEarly(recipe, state),
        ]

    training.end_epoch(model, state, callbacks(lambda: 0.0))
    # Twice at most: what is left of an interrupted epoch, then the others.
    while not is_finished(recipe, state):
        epoch, done = divmod(state.step, steps)
        batches, waited = divided_batches(
            annotations["train"], recipe, state.step, strategy
        )
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1 if done else recipe.epochs,
            steps_per_epoch=steps - done,
            verbose="auto" if run.is_chief else 0,
            shuffle=False,  # The batches are shuffled already.
            callbacks=callbacks(waited),
        )


def divided_batches(annotations, recipe, first_step, strategy):
    """Makes the batches to train on, divided among workers.

    Args:
        annotations: `keras_epsanet.data.coco.Annotations` to train with.
        recipe: `CocoRecipe`.
        first_step: Integer, number of the first batch.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        As of `keras_epsanet.training.timed_batches`.
    """
    return training.timed_batches(
        lambda shard: make_batches(
            annotations,
            recipe,
            training=True,
            first_step=first_step,
            shard=shard,
        ),
        recipe.step_batch_size,
        strategy,
    )
