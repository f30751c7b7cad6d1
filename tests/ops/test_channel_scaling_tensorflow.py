import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's gradient", allow_module_level=True)

import tensorflow as tf

from keras_epsanet.layers import PSA


def test_a_psa_keeps_its_outputs_for_the_gradient_not_its_features():
    layer = PSA(64)
    layer.build((1, 8, 8, 64))

    @tf.function(autograph=False)
    def gradients(images):
        with tf.GradientTape() as tape:
            outputs = layer(images)
        return tape.gradient(outputs, layer.trainable_variables)

    graph = gradients.get_concrete_function(tf.TensorSpec((2, 8, 8, 64))).graph
    features = graph.get_operation_by_name(
        f"{layer.name}_1/{layer.spc.name}_1/concat"
    )
    users = features.outputs[0].consumers()
    # The last of them passes the products on, and the features to nobody.
    assert {x.type for x in users} == {"Mul", "Mean", "IdentityN"}
    (passed_on,) = (x for x in users if x.type == "IdentityN")
    assert not passed_on.outputs[1].consumers()
