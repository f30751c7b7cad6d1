"""What is left when a detector's training ends: files and a picture."""

from keras_epsanet import distribution
from keras_epsanet.atomic import whole
from keras_epsanet.detection import drawing

RESULTS = ("model.keras", "last.weights.h5", "predictions.png", "log.csv")


def finish(model, run, class_names, evaluation):
    """Saves the trained detector, and draws what it finds.

    Args:
        model: Trained detector.
        run: `RunFolder`.
        class_names: List of strings.
        evaluation: Batches of the images to evaluate with.
    """
    digits = run.export(model, "last.weights.h5")
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
