import keras
import numpy as np
import pytest

from keras_epsanet.classification.branched import BranchedClassifier
from keras_epsanet.classification.models import metrics


@pytest.fixture
def model():
    """Two outputs: of the first the class is right, of the other wrong."""
    image = keras.Input((2,))
    main = keras.layers.Dense(2, use_bias=False, name="main")
    branch = keras.layers.Dense(2, use_bias=False, name="branch")
    model = BranchedClassifier(image, [main(image), branch(image)])
    main.kernel.assign(3 * np.eye(2))
    branch.kernel.assign(-np.eye(2))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.1), loss, weighted_metrics=metrics()[:1]
    )
    return model


def cross_entropy(right, wrong):
    return np.log(1 + np.exp(wrong - right))


def test_both_outputs_are_trained_with_the_sum_of_their_losses(model):
    before = (
        [layer.kernel.numpy() for layer in model.layers[1:]]
        if keras.backend.backend() == "tensorflow"
        else None
    )
    x = np.eye(2, dtype="float32")
    logs = model.train_on_batch(x, x, return_dict=True)
    expected = cross_entropy(3, 0) + cross_entropy(-1, 0)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
    if before is not None:
        for layer, kernel in zip(model.layers[1:], before):
            assert not np.array_equal(layer.kernel.numpy(), kernel)


def test_the_first_output_is_what_is_judged(model):
    x = np.eye(2, dtype="float32")
    found = model.evaluate(x, x, verbose=0, return_dict=True)
    assert found["top1"] == 1.0
    assert found["loss"] == pytest.approx(cross_entropy(3, 0), rel=1e-5)


def test_a_model_of_two_outputs_is_loaded_as_one(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is BranchedClassifier
    x = np.eye(2, dtype="float32")
    expected = model.evaluate(x, x, verbose=0, return_dict=True)
    found = loaded.evaluate(x, x, verbose=0, return_dict=True)
    assert found == pytest.approx(expected)
    name = keras.saving.get_registered_name(BranchedClassifier)
    assert name == "keras_epsanet>BranchedClassifier"
