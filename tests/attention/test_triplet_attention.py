import numpy as np
from equations import sigmoid, triplet, values
from keras import ops

from keras_epsanet.attention import TripletAttention


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        gates = (layer.gate_cw, layer.gate_hc, layer.gate_hw)
        parts = [part for g in gates for part in (g.conv.kernel, g.norm)]
        return triplet(x, *values(*parts))

    check_equation(TripletAttention, equation, (2, *size, 16), dtype)


def test_only_the_gate_of_the_pixels_starts_at_one_half():
    layer = TripletAttention()
    layer.build((None, 5, 6, 8))
    gates = (layer.gate_cw, layer.gate_hc, layer.gate_hw)
    gammas = [float(values(g.norm.gamma)[0][0]) for g in gates]
    assert gammas == [1, 1, 0]
    for gate in (layer.gate_cw, layer.gate_hc):
        gate.norm.gamma.assign([0.0])
    x = np.ones((1, 5, 6, 8), "float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x)), sigmoid(0.0), rtol=1e-6
    )


def test_the_published_number_of_parameters():
    layer = TripletAttention()
    layer.build((None, 14, 14, 1024))
    trainable = sum(np.prod(w.shape) for w in layer.trainable_weights)
    assert trainable == 300


def test_arguments_and_training(check_contract):
    check_contract(TripletAttention, kernel_size=7)
