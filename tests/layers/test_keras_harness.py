"""Keras' own checks of a layer, run on every layer of the package."""

import keras
import numpy as np
import pytest
from absl.testing import parameterized
from keras.src import testing

from keras_epsanet import layers

PYRAMID = {"filters": 8, "kernel_sizes": (3, 5), "groups": (1, 2)}
IMAGES = (2, 5, 6, 4)


@pytest.fixture(autouse=True)
def keep_traceback_filtering():
    """Keras' test case switches it off for good."""
    enabled = keras.config.is_traceback_filtering_enabled()
    yield
    if enabled:
        keras.config.enable_traceback_filtering()


# Layer, arguments, shapes of the input and of the output, numbers of weights
# that train and that do not, of losses.
CASES = [
    ("GroupedConv2D", {"filters": 6, "kernel_size": 3},
     IMAGES, (2, 5, 6, 6), 1, 0, 0),
    ("GroupedConv2D", {"filters": 8, "kernel_size": 5, "strides": 2,
                       "groups": 4, "use_bias": True,
                       "kernel_regularizer": "l2", "bias_regularizer": "l2"},
     IMAGES, (2, 3, 3, 8), 2, 0, 2),
    ("BatchNormalization", {}, IMAGES, IMAGES, 2, 2, 0),
    ("BatchNormalization", {"norm_eval": True, "scale": False},
     IMAGES, IMAGES, 1, 2, 0),
    ("Bias", {"bias_regularizer": "l2"}, IMAGES, IMAGES, 1, 0, 1),
    ("Resizing", {"height": 3, "width": 4}, IMAGES, (2, 3, 4, 4), 0, 0, 0),
    ("SEWeight", {"reduction": 2}, IMAGES, (2, 1, 1, 4), 4, 0, 0),
    ("SEWeight", {"reduction": 2, "kernel_regularizer": "l2"},
     IMAGES, (2, 1, 1, 4), 4, 0, 2),
    ("SPC", PYRAMID, IMAGES, (2, 5, 6, 8), 2, 0, 0),
    ("SPC", {**PYRAMID, "strides": 2, "split_input": True,
             "kernel_regularizer": "l2"},
     IMAGES, (2, 3, 3, 8), 2, 0, 2),
    ("PSA", {**PYRAMID, "reduction": 2}, IMAGES, (2, 5, 6, 8), 6, 0, 0),
    ("PSA", {**PYRAMID, "reduction": 2, "strides": 2, "split_input": True,
             "kernel_regularizer": "l2", "activity_regularizer": "l2"},
     IMAGES, (2, 3, 3, 8), 6, 0, 5),
    ("PSA", {**PYRAMID, "reduction": 2, "trainable": False},
     IMAGES, (2, 5, 6, 8), 0, 6, 0),
    ("ClassNames", {"names": ["cat", "dog"]}, (2, 2), (2, 2), 0, 0, 0),
]  # fmt: skip


def test_every_public_layer_has_a_case():
    assert {name for name, *_ in CASES} == set(layers.__all__)


class TestLayers(testing.TestCase):
    @parameterized.parameters(*CASES)
    def test_layer(
        self, name, arguments, inputs, output, trainable, fixed, losses
    ):
        self.run_layer_test(
            getattr(layers, name),
            init_kwargs=arguments,
            input_shape=inputs,
            expected_output_shape=output,
            expected_output_dtype="float32",
            expected_num_trainable_weights=trainable,
            expected_num_non_trainable_weights=fixed,
            expected_num_non_trainable_variables=fixed,
            expected_num_seed_generators=0,
            expected_num_losses=losses,
            supports_masking=name == "BatchNormalization",
            # Nothing of them trains, so there is no gradient.
            run_training_check=trainable > 0,
        )
        self.run_saving_test(getattr(layers, name)(**arguments), inputs)

    def run_saving_test(self, layer, shape):
        image = keras.Input(batch_shape=shape)
        model = keras.Model(image, layer(image))
        random = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(random.uniform(0.5, 1, weight.shape))
        x = random.standard_normal(shape).astype("float32")
        path = f"{self.get_temp_dir()}/model.keras"
        model.save(path)
        self.assertAllClose(keras.saving.load_model(path)(x), model(x))
