import itertools

import keras
import numpy as np
import pytest

from keras_epsanet.distribution.input_batches import (
    count_batches,
    input_batches,
)

X = np.arange(10, dtype="float32").reshape(5, 2)


class Batches(keras.utils.PyDataset):
    def __init__(self, number):
        super().__init__()
        self.number = number

    @property
    def num_batches(self):
        return self.number

    def __getitem__(self, i):
        return X[2 * i : 2 * i + 2], None


def tensorflow_batches():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, X[:, 0])).batch(2)


def torch_batches():
    data = pytest.importorskip("torch.utils.data")
    return data.DataLoader(list(zip(X, X)), batch_size=2)


@pytest.mark.parametrize(
    "make, number",
    [
        (lambda: X, 3),
        (lambda: keras.ops.convert_to_tensor(X), 3),
        (lambda: (X, X[:, 0]), 3),
        (lambda: (X,), 3),
        (lambda: Batches(3), 3),
        (tensorflow_batches, 3),
        (torch_batches, 3),
        (lambda: [X[:2], X[2:4], X[4:]], 3),
        (lambda: ((x, None, 1) for x in (X[:2], X[2:4], X[:0], X[4:])), None),
    ],
)
def test_all_images_in_batches(make, number):
    assert count_batches(make(), batch_size=2) == number
    sizes, batches = zip(*input_batches(make(), batch_size=2))
    assert sizes == (2, 2, 1)
    assert all(keras.ops.is_tensor(x) for x in batches)
    arrays = [keras.ops.convert_to_numpy(x) for x in batches]
    np.testing.assert_array_equal(np.concatenate(arrays), X)
    assert len(list(input_batches(make(), 2, batch_size=2))) == 2


def test_several_inputs():
    y = np.zeros(5)
    for dataset in ({"a": X, "b": X + 1}, ({"a": X, "b": X + 1}, y)):
        ((size, batch),) = input_batches(dataset)
        assert size == 5 and batch.keys() == {"a", "b"}
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(batch["b"]), X + 1
        )
    for dataset in (([X, X], y), ([X, X],), [([X, X], y)], [((X, X),)]):
        ((size, batch),) = input_batches(dataset)
        assert size == 5 and len(batch) == 2
    with pytest.raises(ValueError, match=r"same number.*Received: \[3, 5\]"):
        list(input_batches({"a": X, "b": X[:3]}))


def test_numbers_are_of_the_precision_that_fit_has():
    ((_, x),) = input_batches(X.astype("float64"))
    assert keras.backend.standardize_dtype(x.dtype) == "float32"
    ((_, x),) = input_batches(X.astype("uint8"))
    assert keras.backend.standardize_dtype(x.dtype) == "uint8"


def test_no_further_batch_is_asked_for():
    rest = iter([X, X, X, X])
    assert len(list(input_batches(rest, 3))) == 3
    assert len(list(rest)) == 1


def test_what_never_ends():
    tf = pytest.importorskip("tensorflow")
    for make in (
        lambda: Batches(None),
        lambda: tf.data.Dataset.from_tensors(X).repeat(),
    ):
        with pytest.raises(ValueError, match="never ends.*Received: dataset="):
            count_batches(make())
        assert count_batches(make(), 4) == 4
        assert len(list(input_batches(make(), 2))) == 2
    assert count_batches(itertools.repeat(X)) is None
    unknown = tf.data.Dataset.from_tensors(X).filter(lambda x: True)
    assert count_batches(unknown) is None


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_refuses_numbers_that_are_none(steps):
    match = f"must be a positive integer. Received: .*={steps}"
    with pytest.raises(ValueError, match=match):
        count_batches(X, steps)
    with pytest.raises(ValueError, match=match):
        count_batches(X, batch_size=steps)


def test_refuses_what_holds_no_batches():
    with pytest.raises(ValueError, match="must be an array.*dataset=7"):
        list(input_batches(7))


def test_batches_have_32_images_by_default():
    many = np.zeros((65, 2), "float32")
    assert count_batches(many) == 3
    assert [size for size, _ in input_batches(many)] == [32, 32, 1]


def test_fewer_steps_than_batches_are_counted():
    assert [count_batches(X, n, batch_size=2) for n in (1, 3, 4)] == [1, 3, 3]


def test_numbers_of_another_framework_have_that_precision_too():
    torch = pytest.importorskip("torch")
    ((_, x),) = input_batches([torch.ones((2, 3), dtype=torch.float64)])
    assert keras.backend.standardize_dtype(x.dtype) == "float32"
