import types

import keras
import numpy as np
import pytest

from keras_epsanet.distribution import predict


class Model:
    """Predicts twice the images, and notes what it is given."""

    distribute_strategy = types.SimpleNamespace(num_replicas_in_sync=2)

    def __init__(self):
        self.given = []

    def predict(self, images, batch_size, verbose):
        assert verbose == 0
        self.given.append((np.asarray(images).tolist(), batch_size))
        return {"twice": 2 * images, "more": [images + 1]}


def predicted(batches, strategy=None):
    model = Model()
    found = predict(model, batches, strategy)
    return model.given, found["twice"].tolist(), found["more"][0].tolist()


@pytest.mark.parametrize("labels", [(), ("labels",), ("labels", "weights")])
def test_batches_are_filled_up_with_their_last_image(labels):
    three = types.SimpleNamespace(num_replicas_in_sync=3)
    batches = [np.arange(1, 5), np.arange(5, 8), np.arange(8, 9)]
    batches = [(x, *labels) for x in batches] if labels else batches
    given, twice, more = predicted(batches, three)
    assert given == [([1, 2, 3, 4, 4, 4], 6), ([5, 6, 7], 3), ([8, 8, 8], 3)]
    assert twice == list(range(2, 17, 2)) and more == list(range(2, 10))


def test_structures_of_images_are_filled_up():
    class Sum(Model):
        def predict(self, images, **options):
            return images["a"] + images["b"]

    one = {"a": np.arange(3), "b": np.arange(3) * 10}
    assert predict(Sum(), [one]).tolist() == [0, 11, 22]
    # A list is one of inputs, not of an image and its label.
    Sum.predict = lambda self, images, **_: images[0] + images[1]
    assert predict(Sum(), [list(one.values())]).tolist() == [0, 11, 22]


def test_the_strategy_is_that_of_the_model(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    given, _, _ = predicted([np.arange(1)])
    assert given == [([0, 0], 2)]
    # JAX has one for all models.
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    four = types.SimpleNamespace(num_model_replicas=4)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: four)
    given, _, _ = predicted([np.arange(1)])
    assert given == [([0, 0, 0, 0], 4)]


@pytest.mark.parametrize("batches", [[], [np.ones(0)]], ids=len)
def test_no_image_is_refused(batches):
    with pytest.raises(ValueError, match="Received: none"):
        predict(Model(), batches)


def test_empty_batches_are_left_out():
    batches = [np.arange(1, 5), np.arange(0), np.arange(5, 6)]
    given, twice, _ = predicted(batches, Model.distribute_strategy)
    assert given == [([1, 2, 3, 4], 4), ([5, 5], 2)]
    assert twice == [2, 4, 6, 8, 10]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    images = [np.ones((count, 4), "float32") for count in (4, 0, 1)]
    assert predict(model, images).shape == (5, 2)


def test_arrays_are_taken_in_batches():
    for images in (np.arange(5), keras.ops.arange(5)):
        model = Model()
        found = predict(model, images, model.distribute_strategy, batch_size=2)
        assert found["twice"].tolist() == [0, 2, 4, 6, 8]
        assert [x for x, _ in model.given] == [[0, 1], [2, 3], [4, 4]]


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="others have no such tensors"
)
def test_tensors_that_numpy_does_not_take_are_taken():
    """As those on a GPU, those that have gradients."""
    images = keras.ops.arange(3, dtype="float32").requires_grad_()
    assert predict(Model(), images)["twice"].tolist() == [0, 2, 4]


def test_structures_of_arrays_are_taken_in_batches():
    class Sum(Model):
        def predict(self, images, **options):
            return images["a"] + images["b"]

    images = {"a": np.arange(3), "b": np.arange(3) * 10}
    assert predict(Sum(), images, batch_size=2).tolist() == [0, 11, 22]


@pytest.mark.parametrize("batch_size", [0, "2", 1.5])
def test_other_sizes_of_batches_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size!r}"):
        predict(Model(), np.arange(2), batch_size=batch_size)
