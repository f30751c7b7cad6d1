"""What is logged of a training, and how it is measured."""

import csv
import io
import os
import shutil
import tempfile
import time

import keras

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.training.claim import check_claim


class EpochLog(keras.callbacks.Callback):
    """Adds learning rate, speed and input wait to what is logged.

    Put it before the callbacks that write logs. It adds `learning_rate`, of
    the last step; `images_per_second` while training, on all devices;
    `input_wait`, the share of that time in which `timed_input` waited; and
    `timed_steps`, of which these two are: not the first one after a start,
    in which TensorFlow makes its graph, nor those before it. Without a timed
    step the two are NaN.

    Args:
        schedule: `EpochSchedule`.
        batch_size: Integer, images of a step.
        waited: Function without arguments that returns the seconds that were
            waited for input since the start of the process.
    """

    def __init__(self, schedule, batch_size, waited):
        super().__init__()
        self.schedule = schedule
        self.batch_size = batch_size
        self.waited = waited
        self._started = False

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = 0
        self._start()

    def _start(self):
        self._time, self._wait = time.monotonic(), self.waited()
        self._seconds = self._waited = 0.0

    def on_train_batch_end(self, batch, logs=None):
        if not self._started:
            self._started = True
            self._start()
            return
        self._steps += 1
        self._seconds = time.monotonic() - self._time

    def on_test_begin(self, logs=None):
        self._waited = self.waited() - self._wait

    def on_epoch_end(self, epoch, logs=None):
        if not self._waited:
            self.on_test_begin()
        last = (epoch + 1) * self.schedule.steps_per_epoch - 1
        logs["learning_rate"] = float(self.schedule(last))
        # Not left out, for `CSVLogger` has the columns of the first epoch.
        speed = wait = float("nan")
        if self._steps:
            seconds = max(self._seconds, 1e-9)
            speed = self._steps * self.batch_size / seconds
            wait = min(self._waited / seconds, 1.0)
        logs["images_per_second"] = speed
        logs["input_wait"] = wait
        logs["timed_steps"] = self._steps


class _StoredCSVLogger(keras.callbacks.CSVLogger):
    """Writes a log on this machine, and after each epoch into a storage."""

    def __init__(self, path, claim):
        self._path = path
        self._claim = claim
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(f"{self._folder.name}/log.csv", append=True)

    def on_train_begin(self, logs=None):
        if storage.exists(self._path):
            with (
                storage.open_file(self._path, "rb") as file,
                open(self.filename, "wb") as copy,
            ):
                shutil.copyfileobj(file, copy)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        # Whoever has taken over the folder writes this file from now on.
        check_claim(self._claim)
        with open(self.filename, encoding="utf-8", newline="") as file:
            write_file(self._path, file.read())


def csv_logger(path, claim=None):
    """Makes the callback that adds a line of each epoch to a CSV file.

    Args:
        path: Path of the file, on this machine or in a storage.
        claim: The attribute `claim` of the `RunFolder` of the file, or
            `None`. Before a line is written into a storage it is checked:
            a `RuntimeError` ends the training that was taken over.

    Returns:
        `keras.callbacks.CSVLogger`.

    Example:

    >>> csv_logger("log.csv").append
    True
    """
    if storage.is_remote(path):
        # Objects have no end to write to.
        return _StoredCSVLogger(path, claim)
    return keras.callbacks.CSVLogger(path, append=True)


class ScalarEvents(keras.callbacks.Callback):
    """Writes the logs of every epoch for TensorBoard.

    `keras.callbacks.TensorBoard` needs the package tensorboard where the
    training runs; this needs it only where the curves are looked at.

    Args:
        folder: Folder for the event files: those of the evaluation go to
            its sub-folder `validation`, the others to `train`.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf

        kind = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}
        )
        for name, value in logs.items():
            part = "validation" if name.startswith("val_") else "train"
            if part not in self._writers:
                self._writers[part] = tf.summary.create_file_writer(
                    os.path.join(self.folder, part)
                )
            with self._writers[part].as_default(step=epoch):
                tf.summary.write(
                    "epoch_" + name.removeprefix("val_"),
                    tf.constant(value, "float32"),
                    metadata=kind,
                )
        for writer in self._writers.values():
            writer.flush()


def make_logs(run):
    """Makes the callbacks that write logs, in one of several workers only.

    Args:
        run: `RunFolder`.

    Returns:
        List of callbacks.
    """
    if not run.is_chief:
        return []
    return [
        csv_logger(f"{run.path}/log.csv", run.claim),
        ScalarEvents(f"{run.path}/tensorboard"),
    ]


def timed_batches(make_batches, batch_size, strategy):
    """Batches to train on, of which every worker reads its part alone.

    Args:
        make_batches: Function from `shard`, the number of a worker and of all
            workers, to its part of the batches, a `tf.data.Dataset` that
            should end with a `prefetch`.
        batch_size: Integer, images in a batch of all workers.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        The batches for `fit`, and a function without arguments that returns
        the seconds waited for them, as of `timed_input`.
    """
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return timed_input(make_batches((0, 1)))
    clocks = []

    def make_part(context):
        batches, waited = timed_input(
            make_batches(
                (context.input_pipeline_id, context.num_input_pipelines)
            )
        )
        clocks.append(waited)
        return batches.rebatch(context.get_per_replica_batch_size(batch_size))

    return strategy.distribute_datasets_from_function(make_part), clocks[0]


def timed_input(dataset):
    """Measures how long a training waits for its data.

    Args:
        dataset: `tf.data.Dataset`, which should end with a `prefetch`.

    Returns:
        The dataset and a function without arguments, which returns the
        seconds from requests to elements, summed up. With several devices
        the requests are those of their queue.

    Example:

    >>> import tensorflow as tf
    >>> dataset, waited = timed_input(tf.data.Dataset.range(3))
    >>> [int(element) for element in dataset]
    [0, 1, 2]
    >>> bool(0 < waited() < 1)
    True
    """
    import tensorflow as tf

    seconds = 0.0

    def add(requested):
        nonlocal seconds
        seconds += time.monotonic() - float(requested)

    def count(requested, element):
        tf.numpy_function(add, [requested], [])
        return element

    # `zip` asks its datasets one after the other. Python's clock, because
    # `tf.timestamp` refuses to run where operations are deterministic.
    requests = tf.data.Dataset.counter().map(
        lambda _: tf.numpy_function(time.monotonic, [], "float64")
    )
    timed = tf.data.Dataset.zip(requests, dataset).map(count)
    return timed, lambda: seconds


def trim_csv(path, epochs):
    """Removes the lines of epochs that are to be run again.

    Args:
        path: File that `keras.callbacks.CSVLogger` wrote, if there is one.
        epochs: Integer, number of epochs whose lines stay.
    """
    if not storage.exists(path):
        return
    with storage.open_file(path, newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = list(csv.reader(lines))
    kept = rows[:1] + [row for row in rows[1:] if int(row[0]) < epochs]
    text = io.StringIO()
    csv.writer(text).writerows(kept)
    write_file(path, text.getvalue())
