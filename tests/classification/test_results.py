import csv

import keras
import numpy as np
import pytest

from keras_epsanet.classification import models
from keras_epsanet.classification.batches import evaluation_batches
from keras_epsanet.classification.pictures import (
    plot_confusion,
    plot_curves,
    plot_predictions,
)
from keras_epsanet.classification.results import Results, evaluate_file

NAMES = ["cat", "dog", "cow $x$"]
PROBABILITIES = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4]]


@pytest.fixture
def results():
    return Results(NAMES, [0, 0, 1], PROBABILITIES)


def test_rows_are_true_and_columns_predicted_classes(results):
    assert results.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_accuracy_counts_the_first_classes(results):
    assert results.accuracy() == pytest.approx(2 / 3)
    assert Results(NAMES, [0, 2, 2], PROBABILITIES).accuracy(2) == (
        pytest.approx(2 / 3)
    )


def test_every_class_has_its_accuracy(results):
    cat, dog, cow = results.of_classes()
    assert (cat["right"], cat["images"], cat["taken_for"]) == (1, 2, "dog")
    assert (dog["accuracy"], dog["taken_for"]) == (1.0, "")
    assert (cow["images"], cow["accuracy"]) == (0, None)


@pytest.mark.parametrize("classes", [5, 6])
def test_top_5_is_there_for_more_than_five_classes(classes):
    names = [str(i) for i in range(classes)]
    results = Results(names, [0, 1], np.eye(classes)[:2])
    assert ("top5" in results.summary()) == (classes > 5)
    assert results.summary()["top1"] == 1


def test_files_hold_the_matrix_and_the_classes(results, tmp_path):
    results.save(tmp_path)
    with open(tmp_path / "confusion.csv", newline="") as file:
        assert list(csv.reader(file))[:2] == [
            ["true class", *NAMES],
            ["cat", "1", "1", "0"],
        ]
    with open(tmp_path / "classes.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert row == {
        "class": "cat",
        "images": "2",
        "right": "1",
        "accuracy": "0.5",
        "taken_for": "dog",
    }


def test_pictures_are_drawn(results, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,top1,val_loss,val_top1\n0,2,0.1,3,0.2\n")
    plot_curves(log, tmp_path / "curves.png")
    images = np.zeros((3, 8, 8, 3), "uint8")
    plot_predictions(images, results, tmp_path / "predictions.png")
    plot_confusion(results, tmp_path / "confusion.png")
    for name in ("curves", "predictions", "confusion"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_a_saved_model_is_evaluated_image_by_image(
    recipe, dataset, randomize, tmp_path
):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the pipeline needs TensorFlow")
    images = dataset(6)
    model = randomize(models.build_classifier(recipe(), images.class_names))
    model.save(tmp_path / "model.keras")
    done = []
    found = evaluate_file(
        tmp_path / "model.keras",
        evaluation_batches(images, recipe(batch_size=4)),
        done.append,
    )
    assert done == [4, 6]
    assert found.class_names == images.class_names
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    arrays = np.stack([x for x, _ in images.as_numpy_iterator()])
    expected = model.predict(arrays.astype("float32"), verbose=0)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_files_have_a_row_of_each_class(results, tmp_path):
    results.save(tmp_path)
    with open(tmp_path / "confusion.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["true class", *NAMES]
    assert [row[1:] for row in rows[1:]] == [
        *(["1", "1", "0"], ["0", "1", "0"], ["0", "0", "0"]),
    ]
    with open(tmp_path / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == NAMES
    assert [row["accuracy"] for row in rows] == ["0.5", "1.0", ""]
    assert [row["taken_for"] for row in rows] == ["dog", "", ""]
    text = (tmp_path / "classes.csv").read_bytes()
    assert b"\r" not in text and text.endswith(b"\n")


def test_an_image_is_taken_for_the_first_of_equal_classes():
    found = Results(NAMES, [2, 2], [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert found.predicted.tolist() == [0, 1]
    assert found.accuracy() == 0 and found.accuracy(2) == 0.5
    assert found.of_classes()[2]["taken_for"] == "cat"
