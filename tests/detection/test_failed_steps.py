"""What is left of a model after a batch that was refused."""

import keras
import numpy as np
import pytest

from keras_epsanet.detection import RetinaNet
from keras_epsanet.detection.failed_steps import SurvivingModel


class Careful(SurvivingModel):
    """Refuses batches, as detectors do, when a step is traced."""

    def train_step(self, *args):
        return super().train_step(*args[:-1], checked(args[-1]))

    def test_step(self, *args):
        return super().test_step(*args[:-1], checked(args[-1]))

    def predict_step(self, *args):
        return super().predict_step(*args[:-1], checked(args[-1]))


def checked(data):
    data = data if isinstance(data, tuple) else (data,)
    if data[0]["size"].shape[-1] != 2:
        raise ValueError("`size` must have two numbers.")
    return ({"image": data[0]["image"]}, *data[1:])


def batch(size):
    return {
        "image": np.ones((4, 3), "float32"),
        "size": np.ones((4, size), "float32"),
    }


@pytest.fixture
def model():
    image = keras.Input((3,), name="image")
    x = keras.layers.Dropout(0.5)(image)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(2)(x))
    model = Careful({"image": image}, x)
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("step", ["fit", "evaluate", "predict"])
def test_a_good_batch_is_taken_after_a_bad_one(model, step):
    labels = {} if step == "predict" else {"y": np.ones((4, 2), "float32")}
    before = [np.copy(x) for x in model.get_weights()]
    run = getattr(model, step)
    for _ in range(2):
        with pytest.raises(ValueError, match="must have two numbers"):
            run(batch(1), **labels, batch_size=2, verbose=0)
        for value, former in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(value, former)
        run(batch(2), **labels, batch_size=2, verbose=0)
        now = model.get_weights()
        learned = any(np.any(a != b) for a, b in zip(now, before, strict=True))
        assert learned == (step == "fit")
        before = [np.copy(x) for x in now]


def test_detectors_survive_them():
    assert issubclass(RetinaNet, SurvivingModel)
