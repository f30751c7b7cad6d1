"""What is left when a detector's training ends: files and a picture."""

import os
import tempfile

from keras_epsanet import distribution
from keras_epsanet.atomic import whole
from keras_epsanet.detection import drawing
from keras_epsanet.training.early_end import best_epoch

RESULTS = ("model.keras", "last.weights.h5", "predictions.png", "log.csv")


def finish(model, run, class_names, evaluation, state, average=None):
    """Saves the detector of the best epoch, and draws what it finds.

    Args:
        model: Trained detector, with the average of the weights if there is
            one. It is left as it was in the epoch of the highest AP.
        run: `RunFolder`.
        class_names: List of strings.
        evaluation: Batches of the images to evaluate with, of the first of
            several workers its own.
        state: `State` at the end.
        average: `WeightAverage` of the model, or `None`.
    """
    digits = run.export(model, "last.weights.h5")
    if state.best_step not in (None, state.step):
        run.restore(
            model, state.steps_per_epoch, step=state.best_step, average=average
        )
        if average:
            average.swap_in()
    if not run.is_chief:
        # Variables of several workers are read by all together.
        with tempfile.TemporaryDirectory() as folder:
            model.save(os.path.join(folder, "model.keras"))
        return
    if state.best_step is not None:
        print(
            f"model.keras is that of epoch {best_epoch(state)} of "
            f"{state.epoch}, with the highest AP: {state.best_value:.1%}"
        )
    with whole(f"{run.path}/model.keras") as temporary:
        model.save(temporary)
    batch = next(iter(evaluation))
    drawing.draw_beside(
        batch,
        distribution.predict(model, [batch["images"]]),
        class_names,
        path=f"{run.path}/predictions.png",
    )
    print(f"SHA-256 {digits}  last.weights.h5")
    print(f"Saved in {run.path}: {', '.join(RESULTS)}")
