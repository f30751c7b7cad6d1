"""What a classifier gets right and what it takes for what."""

import csv
import io

import keras
import numpy as np

from keras_epsanet.atomic import write_file


class Results:
    """Predictions of a classifier beside the true classes.

    Args:
        class_names: List of strings.
        labels: Integer array `(N,)`, the true classes.
        probabilities: Array `(N, classes)`.

    Example:

    >>> results = Results(["cat", "dog"], [0, 0, 1], [[1, 0], [0, 1], [0, 1]])
    >>> results.confusion.tolist()
    [[1, 1], [0, 1]]
    >>> results.of_classes()[0]
    {'class': 'cat', 'images': 2, 'right': 1, 'accuracy': 0.5, \
'taken_for': 'dog'}
    """

    def __init__(self, class_names, labels, probabilities):
        self.class_names = list(class_names)
        self.labels = np.asarray(labels, "int64")
        self.probabilities = np.asarray(probabilities, "float64")
        self.predicted = self.probabilities.argmax(axis=-1)

    @property
    def confusion(self):
        """Integer array: row is the true class, column the predicted one."""
        size = len(self.class_names)
        counts = np.zeros((size, size), "int64")
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def accuracy(self, top=1):
        """Share of the images whose class is among the `top` first.

        Args:
            top: Positive integer.

        Returns:
            Float.
        """
        best = np.argsort(-self.probabilities, axis=-1, kind="stable")
        hits = best[:, :top] == self.labels[:, None]
        return float(hits.any(axis=-1).mean())

    def summary(self):
        """Dictionary of `top1` and, of more than five classes, `top5`."""
        names = ("top1", "top5") if len(self.class_names) > 5 else ("top1",)
        return {name: self.accuracy(int(name[3:])) for name in names}

    def of_classes(self):
        """Dictionaries, one for each class, of what became of its images."""
        rows = []
        for i, (name, counts) in enumerate(
            zip(self.class_names, self.confusion)
        ):
            images, right = int(counts.sum()), int(counts[i])
            wrong = counts.copy()
            wrong[i] = 0
            rows.append(
                {
                    "class": name,
                    "images": images,
                    "right": right,
                    "accuracy": right / images if images else None,
                    "taken_for": (
                        self.class_names[wrong.argmax()] if wrong.any() else ""
                    ),
                }
            )
        return rows

    def save_confusion(self, path):
        """Writes a row for each true class, a column for each predicted one.

        Args:
            path: Path of the CSV file.
        """
        header = ["true class", *self.class_names]
        rows = [
            [name, *counts]
            for name, counts in zip(self.class_names, self.confusion.tolist())
        ]
        _write_csv(path, [header, *rows])

    def save(self, folder):
        """Writes `confusion.csv` and `classes.csv`.

        Args:
            folder: Path of the folder.
        """
        self.save_confusion(f"{folder}/confusion.csv")
        rows = self.of_classes()
        _write_csv(
            f"{folder}/classes.csv",
            [rows[0].keys(), *(row.values() for row in rows)],
        )


def _write_csv(path, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_file(path, text.getvalue())


def evaluate_file(path, batches, on_images=None):
    """Runs a saved classifier on images.

    Args:
        path: Path of a `.keras` file that ends in `ClassNames`.
        batches: Finite `tf.data.Dataset` of images and one-hot classes.
        on_images: Optional function of the number of images that are done.

    Returns:
        `Results`.
    """
    model = keras.saving.load_model(path, compile=False)
    labels, probabilities, done = [], [], 0
    for images, classes in batches.as_numpy_iterator():
        labels.append(np.argmax(classes, axis=-1))
        probabilities.append(model.predict_on_batch(images))
        done += len(labels[-1])
        if on_images is not None:
            on_images(done)
    return Results(
        model.layers[-1].names,
        np.concatenate(labels),
        np.concatenate(probabilities),
    )
