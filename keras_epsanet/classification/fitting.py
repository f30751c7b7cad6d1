"""Trains a classifier in a run folder, from wherever it was."""

import warnings

import keras

from keras_epsanet import training
from keras_epsanet.classification.batches import training_batches
from keras_epsanet.graph.recalibrate import recalibrate_batch_norm
from keras_epsanet.training.early_end import EndEarly, is_finished


def keep_start(model, average, run, state, evaluation):
    """Saves a trained start as the best epoch so far.

    Args:
        model: What `compile_trained_part` returned.
        average: `WeightAverage` of the model, or `None`.
        run: `RunFolder`.
        state: `State` of step 0, which is changed.
        evaluation: Batches of the held-out images.
    """
    model.optimizer.build(model.trainable_variables)
    note_best(model, state, evaluation)
    run.save(model, state, average)


def note_best(model, state, evaluation):
    """Evaluates a model, and notes its step as the best one.

    Args:
        model: What `compile_trained_part` returned.
        state: `State`, which is changed.
        evaluation: Batches of the held-out images.
    """
    state.best_step = state.step
    state.best_value = _evaluate(model, evaluation)


def _evaluate(model, evaluation):
    with warnings.catch_warnings():
        # Keras says so of the held-out images, which it does not count.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        result = model.evaluate(evaluation, verbose=0, return_dict=True)
    return result["top1"]


def fit(
    model,
    average,
    dataset,
    evaluation,
    run,
    state,
    interruption,
    checkpoint_steps,
):
    """Trains from the step of `state` to the end.

    Args:
        model: What `compile_trained_part` returned.
        average: `WeightAverage` of the model, or `None`.
        dataset: Dataset to train with.
        evaluation: Batches of the held-out images.
        run: `RunFolder`.
        state: `State`, which is kept up to date.
        interruption: `Interruption`.
        checkpoint_steps: Integer, steps from one checkpoint to the next.

    Raises:
        SystemExit: If `interruption` is requested, after it was saved.
        FloatingPointError: If the loss or a weight is not finite.
    """
    recipe, steps = run.recipe, state.steps_per_epoch
    training.trim_csv(f"{run.path}/log.csv", state.epoch)
    # Twice at most: what is left of an interrupted epoch, then the others.
    while not is_finished(recipe, state):
        epoch, done = divmod(state.step, steps)
        batches, waited = training.timed_input(
            training_batches(dataset, recipe, state.step)
        )
        with warnings.catch_warnings():
            # Keras says so of the held-out images, which it does not count.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            model.fit(
                batches,
                initial_epoch=epoch,
                epochs=epoch + 1 if done else recipe.epochs,
                steps_per_epoch=steps - done,
                validation_data=evaluation,
                shuffle=False,  # The batches are shuffled already.
                callbacks=[
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
                        average=average,
                    ),
                    EndEarly(recipe, state),
                ],
            )


def restore_best(model, average, run, state):
    """Gives a model the weights of its best epoch, averaged if they are.

    Args:
        model: What `compile_trained_part` returned.
        average: `WeightAverage` of the model, or `None`.
        run: `RunFolder`.
        state: `State` at the end.
    """
    run.restore(
        model, state.steps_per_epoch, step=state.best_step, average=average
    )
    if average:
        average.swap_in()


def recalibrate(model, dataset, recipe, state, evaluation):
    """Takes the BatchNorm statistics of a trained model anew, if that helps.

    Args:
        model: What `compile_trained_part` returned, with its best weights.
        dataset: Dataset that it was trained with.
        recipe: `ClassifierRecipe`, whose `recalibration_steps` say of how
            many batches they are the means; with 0 nothing is done.
        state: `State`, whose `best_value` is that of the statistics that the
            model is left with.
        evaluation: Batches of the held-out images.
    """
    if not recipe.recalibration_steps:
        return
    kept = [
        (variable, keras.ops.convert_to_numpy(variable))
        for variable in model.non_trainable_variables
    ]
    batches = training_batches(dataset, recipe)
    recalibrate_batch_norm(model, batches, recipe.recalibration_steps)
    value = _evaluate(model, evaluation)
    print(
        f"BatchNorm statistics of {recipe.recalibration_steps} batches: "
        f"held-out top-1 {value:.2%}, before {state.best_value:.2%}"
    )
    if value < state.best_value:
        for variable, array in kept:
            variable.assign(array)
        return
    state.best_value = value
