"""What is left when a training ends: its best epoch, checked and looked at."""

import dataclasses

from keras_epsanet.atomic import whole
from keras_epsanet.classification import (
    agreement,
    models,
    pictures,
    results,
    run_folder,
)

# Images with which the ways to run the saved model are compared.
COMPARED = 8
# Files that are named where more are skipped.
NAMED = 20


def finish(classifier, held_out, run, state, images, on_images=None):
    """Saves, checks, evaluates and draws the best epoch, and says so.

    Args:
        classifier: What `build_classifier` returned, with the weights of the
            best epoch.
        held_out: Batches of the held-out images.
        run: `RunFolder`.
        state: `State` at the end.
        images: `Images`.
        on_images: Optional function of the number of held-out images that
            the saved model has seen.

    Raises:
        RuntimeError: If the saved model predicts something else when it is
            called or exported, or is not as accurate as the trained one.
    """
    recipe, path = run.recipe, f"{run.path}/model.keras"
    save(classifier, recipe, images.class_names, path)
    first = next(held_out.unbatch().batch(24).as_numpy_iterator())[0]
    print(f"Checking {path}: that all ways to run it agree", flush=True)
    agreeing = agreement.check_agreement(path, first[:COMPARED])
    print(f"Checking {path}: the held-out images", flush=True)
    found = results.evaluate_file(path, held_out, on_images)
    if on_images is not None and images.undecodable_held_out:
        on_images(images.held_out.num_images)  # The last ones were bad.
    check_accuracy(path, found, state, recipe)
    found.save(run.path)
    pictures.plot_curves(f"{run.path}/log.csv", f"{run.path}/curves.png")
    pictures.plot_predictions(first, found, f"{run.path}/predictions.png")
    pictures.plot_confusion(found, f"{run.path}/confusion.png")
    run_folder.write_results(run, state, found, agreeing)
    report_results(run, state, found, agreeing, images)


def save(classifier, recipe, class_names, path):
    """Writes the model in float32, for one device, and never half a file."""
    plain = dataclasses.replace(
        recipe, precision="float32", sync_bn=False, freeze=False
    )
    model = models.build_classifier(plain, class_names)
    model.set_weights(classifier.get_weights())
    with whole(path) as temporary:
        model.save(temporary)


def check_accuracy(path, found, state, recipe):
    """Raises if the saved model is not as accurate as the trained one.

    An image may be rounded to another class on other devices, or some of
    them in another precision.
    """
    images = len(found.labels)
    allowed = 0.001 if recipe.precision == "float32" else 0.02
    wrong = abs(found.accuracy() - state.best_value) * images
    if wrong > max(1, allowed * images) + 1e-3:
        raise RuntimeError(
            f"{path} has a held-out top-1 of {found.accuracy():.2%}, but the "
            f"trained model {state.best_value:.2%}"
        )


def report_results(run, state, found, agreeing, images):
    skipped = images.undecodable
    if skipped:
        held_out = len(set(skipped) & set(images.undecodable_held_out))
        print(
            f"Skipped {len(skipped)} image file(s) that cannot be decoded, "
            f"{held_out} of them held out:",
            *skipped[:NAMED],
            *["..."] * (len(skipped) > NAMED),
            sep="\n  ",
        )
    rows = sorted(found.of_classes(), key=lambda x: x["accuracy"] or 0)
    print("Classes" if len(rows) <= 20 else "The 20 worst classes")
    for row in rows[:20]:
        taken = f", most often taken for {row['taken_for']}"
        print(
            f"  {row['right']:5} of {row['images']:5} right  {row['class']}"
            + (taken if row["taken_for"] else "")
        )
    summary = found.summary()
    print(
        f"Held out: top-1 {summary['top1']:.2%}"
        + (f", top-5 {summary['top5']:.2%}" if "top5" in summary else "")
        + f" of {len(found.labels)} images, with the weights "
        + (
            f"after epoch {run_folder.best_epoch(state)}, the best of "
            f"{state.epoch}"
            if state.best_step
            else f"of the start, which none of {state.epoch} epochs improved"
        )
    )
    names = ", ".join(run_folder.RESULTS)
    print(
        f"Saved in {run.path}: {names}. predict, {', '.join(agreeing)} of "
        "model.keras agree"
    )
