import types

import keras
import pytest

from keras_epsanet import training
from keras_epsanet.classification.imagenet import fitting
from keras_epsanet.data import imagenet

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

import tensorflow as tf


class TwoWorkers(tf.distribute.MultiWorkerMirroredStrategy):
    """Asks for the data of one worker of two, without any other process."""

    def __init__(self, index):
        self.index = index

    def distribute_datasets_from_function(self, function):
        return function(
            types.SimpleNamespace(
                input_pipeline_id=self.index,
                num_input_pipelines=2,
                get_per_replica_batch_size=lambda size: size // 2,
            )
        )


def test_workers_share_each_batch(monkeypatch):
    def training_batches(source, batch_size, shard, **options):
        index, count = shard
        part = tf.data.Dataset.range(3 * batch_size).shard(count, index)
        # As the data come: with the whole batch's part in one.
        return part.batch(batch_size // count)

    monkeypatch.setattr(imagenet, "training_batches", training_batches)
    recipe = training.ImageNetRecipe(batch_size=8)
    parts = []
    for index in range(2):
        batches, waited = fitting.make_batches(
            TwoWorkers(index), None, recipe, 0
        )
        parts.append([list(map(int, batch)) for batch in batches])
        assert waited() > 0
    for step, (one, other) in enumerate(zip(*parts, strict=True)):
        assert len(one) == len(other) == 4
        assert sorted(one + other) == list(range(8 * step, 8 * step + 8))


def test_statistics_are_taken_of_the_batches_of_the_training(monkeypatch):
    seen = {}

    def training_batches(source, batch_size, **options):
        seen.update(options, batch_size=batch_size)
        return "batches"

    class Model:
        def evaluate(self, batches, **_):
            assert batches == "evaluation"
            return {"top1": 0.75}

    monkeypatch.setattr(imagenet, "training_batches", training_batches)
    monkeypatch.setattr(fitting, "worker", lambda strategy: (1, 2))
    monkeypatch.setattr(
        fitting, "evaluation_batches", lambda *arguments: "evaluation"
    )
    monkeypatch.setattr(
        fitting,
        "recalibrate_batch_norm",
        lambda model, batches, steps: seen.update(batches=batches, steps=steps),
    )
    recipe = training.ImageNetRecipe(
        batch_size=8, recalibration_steps=3, antialias=False, seed=5
    )
    assert fitting.recalibrate(Model(), None, None, recipe) == 0.75
    assert seen == {
        "batch_size": 8,
        "image_size": 224,
        "seed": 5,
        "augmentations": None,
        "shard": (1, 2),
        "antialias": False,
        "batches": "batches",
        "steps": 3,
    }
    seen.clear()
    plain = training.ImageNetRecipe()
    assert fitting.recalibrate(Model(), None, None, plain) is None and not seen
