import types

import keras
import numpy as np
import pytest

from keras_epsanet.classification import finishing, models
from keras_epsanet.classification.results import Results
from keras_epsanet.classification.sources import Images
from keras_epsanet.training import ClassifierRecipe, State


def test_a_saved_model_that_is_worse_is_an_error():
    recipe = ClassifierRecipe()
    found = types.SimpleNamespace(labels=[0] * 2000, accuracy=lambda: 0.5)
    finishing.check_accuracy("a", found, State(best_value=0.501), recipe)
    with pytest.raises(RuntimeError, match="50.00%, but .* 50.20%"):
        finishing.check_accuracy("a", found, State(best_value=0.502), recipe)
    # One image of a few is rounding.
    found.labels = [0] * 4
    finishing.check_accuracy("a", found, State(best_value=0.75), recipe)


@pytest.mark.parametrize("best, fits", [(0.52, True), (0.521, False)])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_floats_may_round_two_percent(precision, best, fits):
    recipe = ClassifierRecipe(precision=precision)
    found = types.SimpleNamespace(labels=[0] * 2000, accuracy=lambda: 0.5)
    state = State(best_value=best)
    if fits:
        finishing.check_accuracy("a", found, state, recipe)
    else:
        with pytest.raises(RuntimeError, match="a has a held-out top-1 of"):
            finishing.check_accuracy("a", found, state, recipe)


@pytest.mark.parametrize(
    "fields",
    [
        {"freeze": True},
        {"sync_bn": True},
        {"precision": "mixed_bfloat16"},
    ],
    ids="".join,
)
def test_the_saved_model_is_for_one_device_and_all_of_it_can_be_trained(
    recipe, fields, randomize, tmp_path
):
    names = ["cat", "dog", "pig"]
    classifier = randomize(models.build_classifier(recipe(**fields), names))
    path = tmp_path / "model.keras"
    finishing.save(classifier, recipe(**fields), names, path)
    assert list(tmp_path.iterdir()) == [path]
    model = keras.saving.load_model(path)
    assert all(layer.trainable for layer in model.layers)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert not any(
        getattr(layer, "synchronized", False) for layer in model.layers
    )
    assert model.layers[-1].names == tuple(names)
    for weight, expected in zip(model.weights, classifier.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.fixture
def report(dataset, capsys):
    """Function that returns what is printed of some predictions."""

    def report(classes, labels, predicted, images=None, **state):
        names = [f"c{i}" for i in range(classes)]
        found = Results(names, labels, np.eye(classes)[predicted])
        images = images or Images(dataset(4), dataset(2), "somewhere")
        state = State(**{"step": 12, "steps_per_epoch": 3, **state})
        run = types.SimpleNamespace(path="RUN")
        finishing.report_results(run, state, found, ["one", "two"], images)
        return capsys.readouterr().out.splitlines()

    return report


def test_the_worst_classes_come_first_with_what_they_are_taken_for(report):
    lines = report(3, [0, 0, 1, 1, 2], [0, 0, 2, 2, 0], best_step=6)
    assert lines[0] == "Classes"
    assert [line.split() for line in lines[1:4]] == [
        "0 of 2 right c1, most often taken for c2".split(),
        "0 of 1 right c2, most often taken for c0".split(),
        "2 of 2 right c0".split(),
    ]
    assert lines[4] == (
        "Held out: top-1 40.00% of 5 images, with the weights after epoch 2, "
        "the best of 4"
    )
    assert lines[5].startswith("Saved in RUN: model.keras, curves.png, ")
    assert lines[5].endswith("predict, one, two of model.keras agree")


@pytest.mark.parametrize("classes", [20, 21])
def test_of_many_classes_the_20_worst_are_printed(report, classes):
    labels = np.arange(classes)
    lines = report(classes, labels, labels, best_step=0)
    assert lines[0] == ("Classes" if classes == 20 else "The 20 worst classes")
    assert len(lines) == 1 + 20 + 2
    assert lines[-2] == (
        f"Held out: top-1 100.00%, top-5 100.00% of {classes} images, with "
        "the weights of the start, which none of 4 epochs improved"
    )


def test_files_that_cannot_be_decoded_are_named(report, dataset):
    images = Images(dataset(4), dataset(2), "somewhere")
    images.train.undecodable = ["a.png", "b.png"]
    images.held_out.undecodable = ["c.png"]
    lines = report(3, [0], [0], images, best_step=3)
    assert lines[:5] == [
        "Skipped 3 image file(s) that cannot be decoded, 1 of them held out:",
        *("  a.png", "  b.png", "  c.png"),
        "Classes",
    ]
    images.train.undecodable = [f"{i}.png" for i in range(20)]
    lines = report(3, [0], [0], images, best_step=3)
    assert lines[20:23] == ["  19.png", "  ...", "Classes"]


def test_what_is_left_is_made_of_the_best_epoch(
    recipe, dataset, monkeypatch, tmp_path
):
    """Each step gets the saved model, the first images or its results."""
    from keras_epsanet.classification.batches import evaluation_batches

    held_out = dataset(30)
    batches = evaluation_batches(held_out, recipe())
    found = Results(held_out.class_names, [0, 1], np.eye(3)[:2])
    calls = {}

    def note(module, name, result=None):
        def call(*arguments):
            calls[name] = arguments
            return result

        monkeypatch.setattr(module, name, call)

    note(finishing, "save")
    note(finishing.agreement, "check_agreement", ["one"])
    note(finishing.results, "evaluate_file", found)
    note(finishing, "check_accuracy")
    for name in ("plot_curves", "plot_predictions", "plot_confusion"):
        note(finishing.pictures, name)
    note(finishing.run_folder, "write_results")
    note(finishing, "report_results")
    run = types.SimpleNamespace(path=str(tmp_path), recipe=recipe())
    state, images = State(), Images(dataset(3), held_out, "noise")
    finishing.finish("classifier", batches, run, state, images, print)
    path, folder = f"{tmp_path}/model.keras", str(tmp_path)
    names = held_out.class_names
    assert calls["save"] == ("classifier", run.recipe, names, path)
    file, compared = calls["check_agreement"]
    pictured, *others = calls["plot_predictions"]
    assert file == path and others == [found, f"{folder}/predictions.png"]
    # The first of several batches.
    assert compared[:, 0, 0, 0].tolist() == list(range(8))
    assert pictured[:, 0, 0, 0].tolist() == list(range(24))
    assert calls["evaluate_file"] == (path, batches, print)
    assert calls["check_accuracy"] == (path, found, state, run.recipe)
    assert calls["plot_curves"] == (f"{folder}/log.csv", f"{folder}/curves.png")
    assert calls["plot_confusion"] == (found, f"{folder}/confusion.png")
    assert calls["write_results"] == (run, state, found, ["one"])
    assert calls["report_results"] == (run, state, found, ["one"], images)
    assert (tmp_path / "classes.csv").exists()


@pytest.mark.parametrize(
    "images, right, allowed",
    [
        (4, 2, 1),  # One image is rounding.
        (1000, 500, 1),
        (1500, 750, 1),
        (2000, 1000, 2),  # One in a thousand.
        (5000, 2500, 5),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_no_more_images_than_rounding_explains_may_differ(
    images, right, allowed, sign
):
    found = types.SimpleNamespace(
        labels=[0] * images, accuracy=lambda: right / images
    )
    recipe = ClassifierRecipe()
    best = (right + sign * allowed) / images
    finishing.check_accuracy("a", found, State(best_value=best), recipe)
    best = (right + sign * (allowed + 1)) / images
    with pytest.raises(RuntimeError, match="a has a held-out top-1 of"):
        finishing.check_accuracy("a", found, State(best_value=best), recipe)


def test_classes_without_images_are_among_the_worst(report):
    lines = report(3, [0, 1], [0, 1], best_step=3)
    assert [line.split() for line in lines[1:4]] == [
        ["0", "of", "0", "right", "c2"],
        ["1", "of", "1", "right", "c0"],
        ["1", "of", "1", "right", "c1"],
    ]
