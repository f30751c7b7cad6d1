"""Trains a network on ImageNet in a run folder, from wherever it was."""

import warnings

from keras_epsanet import distribution, training
from keras_epsanet.data import imagenet
from keras_epsanet.distribution.replicas import worker
from keras_epsanet.graph.recalibrate import recalibrate_batch_norm


def count_steps(source, recipe):
    """Counts the steps of `fit` in an epoch.

    Args:
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        recipe: `ImageNetRecipe`.

    Returns:
        Positive integer.

    Raises:
        ValueError: If there are less images than a step has.
    """
    steps = source.num_train // recipe.step_batch_size
    if not steps:
        raise ValueError(
            "A batch needs more images than there are. Received: "
            f"batch_size={recipe.step_batch_size}, {source.num_train} images"
        )
    return steps


def fit(
    model,
    average,
    strategy,
    source,
    run,
    state,
    interruption,
    checkpoint_steps,
):
    """Trains from the step of `state` to the last epoch of the recipe.

    Args:
        model: Compiled `keras.Model`.
        average: `WeightAverage` of the model, or `None`.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        run: `RunFolder`.
        state: `State`, which is kept up to date.
        interruption: `Interruption`.
        checkpoint_steps: Integer, steps from one checkpoint to the next.

    Raises:
        SystemExit: If `interruption` is requested, after it was saved.
        FloatingPointError: If the loss or a weight is not finite.
    """
    recipe, steps = run.recipe, state.steps_per_epoch
    if run.is_chief:
        training.trim_csv(f"{run.path}/log.csv", state.epoch)
    evaluation = evaluation_batches(strategy, source, recipe)
    # Keras says so after batches whose number it is not told.
    warnings.filterwarnings("ignore", "Your input ran out of data")
    # Twice at most: what is left of an interrupted epoch, then the others.
    while state.epoch < recipe.epochs:
        epoch, done = divmod(state.step, steps)
        batches, waited = make_batches(strategy, source, recipe, state.step)
        callbacks = [
            *training.watchdogs(strategy),
            *([average] if average else []),
            training.EpochLog(
                training.make_schedule(recipe, steps),
                recipe.step_batch_size,
                waited,
            ),
            *training.make_logs(run),
            training.Checkpointing(
                run,
                state,
                checkpoint_steps,
                interruption,
                training.any_worker(strategy),
                average=average,
            ),
        ]
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1 if done else recipe.epochs,
            steps_per_epoch=steps - done,
            validation_data=evaluation,
            callbacks=callbacks,
            verbose="auto" if run.is_chief else 0,
            shuffle=False,  # The batches are shuffled already.
        )


def evaluation_batches(strategy, source, recipe):
    """Makes the batches of the validation images, divided among devices.

    Args:
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        recipe: `ImageNetRecipe`.

    Returns:
        What `keras_epsanet.distribution.divide_batches` returns.
    """
    return distribution.divide_batches(
        lambda shard: imagenet.evaluation_batches(
            source,
            recipe.step_batch_size,
            image_size=recipe.image_size,
            shard=shard,
        ),
        strategy,
    )


def make_batches(strategy, source, recipe, first_step):
    """Makes the training batches, divided among workers.

    Args:
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        recipe: `ImageNetRecipe`.
        first_step: Integer, number of the first batch.

    Returns:
        The batches without end, and a function without arguments that
        returns the seconds waited for them.
    """
    return training.timed_batches(
        lambda shard: imagenet.training_batches(
            source,
            recipe.step_batch_size,
            image_size=recipe.image_size,
            seed=recipe.seed,
            first_step=first_step,
            augmentations=recipe.augmentations,
            shard=shard,
            antialias=recipe.antialias,
        ),
        recipe.step_batch_size,
        strategy,
    )


def recalibrate(model, strategy, source, recipe):
    """Takes the BatchNorm statistics of a trained model anew.

    Args:
        model: Compiled `keras.Model`.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        recipe: `ImageNetRecipe`, whose `recalibration_steps` say of how many
            batches they are the means; with 0 nothing is done.

    Returns:
        The top-1 accuracy with them, from 0 to 1, or `None`.
    """
    if not recipe.recalibration_steps:
        return None
    batches = imagenet.training_batches(
        source,
        recipe.step_batch_size,
        image_size=recipe.image_size,
        seed=recipe.seed,
        augmentations=recipe.augmentations,
        shard=worker(strategy),
        antialias=recipe.antialias,
    )
    recalibrate_batch_norm(model, batches, recipe.recalibration_steps)
    evaluation = evaluation_batches(strategy, source, recipe)
    return model.evaluate(
        evaluation,
        verbose=0,
        return_dict=True,
        callbacks=training.watchdogs(strategy),
    )["top1"]
