import keras
import numpy as np

from keras_epsanet.models.layer_states import (
    changed_configs,
    layer_configs,
    rebuild,
)


def test_changes_are_new_entries_and_those_of_another_value():
    before = {
        "a": {"x": 1, "y": 2, "z": None},
        "b": {"x": 1},
        "c": {"x": 1},
    }
    after = {
        "a": {"x": 1, "y": 3, "z": 0},
        "b": {"x": 1, "new": None},
        "c": {"x": 1},
    }
    assert changed_configs(before, after) == {
        "a": {"y": 3, "z": 0},
        "b": {"new": None},
    }


def test_configs_have_no_ids_of_a_file():
    class Some(keras.layers.Layer):
        def get_config(self):
            shared = {"class_name": "X", "shared_object_id": 5}
            return {"a": shared, "b": [shared], "c": ({"d": shared}, 3)}

    plain = {"class_name": "X"}
    assert layer_configs([Some(name="some")]) == {
        "some": {"a": plain, "b": [plain], "c": ({"d": plain}, 3)}
    }


def test_a_network_is_built_again_with_the_changes():
    image = keras.Input((3,))
    x = keras.layers.Dense(2, name="first")(image)
    network = keras.Model(image, keras.layers.Dense(2, name="second")(x))
    built = layer_configs(network.layers)
    network.get_layer("first").trainable = False
    changes = changed_configs(built, layer_configs(network.layers))
    assert changes == {"first": {"trainable": False}}
    network.get_layer("first").trainable = True
    again = rebuild(network, {**changes, "second": {"activation": "relu"}})
    assert [layer.trainable for layer in again.layers[1:]] == [False, True]
    assert again.layers[-1].activation is keras.activations.relu
    assert again(np.ones((1, 3))).shape == (1, 2)
    assert network.layers[-1].activation is keras.activations.linear
