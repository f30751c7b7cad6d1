import keras
import pytest
from keras import layers

from keras_epsanet import complexity


@pytest.mark.parametrize(
    "layer, shape, parameters, table2, added",
    [
        (layers.LayerNormalization(), (5, 4), 2 * 4, 2 * 5 * 4, 0),
        (layers.GroupNormalization(2), (3, 3, 4), 2 * 4, 2 * 9 * 4, 0),
        (layers.RMSNormalization(), (5, 4), 4, 2 * 5 * 4, 0),
        (layers.UnitNormalization(), (5, 4), 0, 2 * 5 * 4, 0),
        (layers.PReLU(), (5, 4), 5 * 4, 0, 5 * 4),
        (layers.PReLU(shared_axes=[1]), (5, 4), 4, 0, 5 * 4),
        (layers.LeakyReLU(), (5, 4), 0, 0, 5 * 4),
        (layers.Activation("elu"), (5, 4), 0, 0, 5 * 4),
        (
            layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="e"),
            (5, 4),
            4 * 2 * 3 + 3,
            5 * 4 * 2 * 3,
            5 * 2 * 3,
        ),
        (
            layers.EinsumDense("...bc,bcd->...d", 3, activation="relu"),
            (2, 5, 4),
            5 * 4 * 3,
            2 * 5 * 4 * 3,
            2 * 3,
        ),
        (layers.Embedding(9, 3), (5,), 9 * 3, 0, 0),
        (
            layers.SimpleRNN(3, activation="relu"),
            (5, 4),
            4 * 3 + 3 * 3 + 3,
            5 * (4 * 3 + 3 * 3),
            2 * 5 * 3,
        ),
        (
            layers.GRU(3, return_sequences=True),
            (5, 4),
            3 * (4 * 3 + 3 * 3 + 2 * 3),
            5 * 3 * (4 * 3 + 3 * 3),
            5 * 3 * 2 * 3,
        ),
        (
            layers.GRU(3, reset_after=False, activation="relu"),
            (5, 4),
            3 * (4 * 3 + 3 * 3 + 3),
            5 * 3 * (4 * 3 + 3 * 3),
            5 * 3 * 3 + 5 * 3,
        ),
        (
            layers.LSTM(3, return_state=True),
            (5, 4),
            4 * (4 * 3 + 3 * 3 + 3),
            5 * 4 * (4 * 3 + 3 * 3),
            5 * 4 * 3,
        ),
        (
            layers.LSTM(3, activation="relu", use_bias=False),
            (5, 4),
            4 * (4 * 3 + 3 * 3),
            5 * 4 * (4 * 3 + 3 * 3),
            5 * 2 * 3,
        ),
        (
            layers.RNN([layers.SimpleRNNCell(3), layers.LSTMCell(2)]),
            (5, 4),
            4 * 3 + 3 * 3 + 3 + 4 * (3 * 2 + 2 * 2 + 2),
            5 * (4 * 3 + 3 * 3 + 4 * (3 * 2 + 2 * 2)),
            5 * (3 + 4 * 2),
        ),
        (
            layers.ConvLSTM2D(3, 3, use_bias=False, return_sequences=True),
            (5, 8, 7, 2),
            3 * 3 * (2 + 3) * 4 * 3,
            5 * (6 * 5) * 3 * 3 * (2 + 3) * 4 * 3,
            0,
        ),
        (
            layers.ConvLSTM1D(3, 3, activation="relu"),
            (5, 8, 2),
            3 * (2 + 3) * 4 * 3 + 4 * 3,
            5 * 6 * 3 * (2 + 3) * 4 * 3,
            5 * 6 * (4 * 3 + 2 * 3),
        ),
        (
            layers.Bidirectional(layers.SimpleRNN(3)),
            (5, 4),
            2 * (4 * 3 + 3 * 3 + 3),
            2 * 5 * (4 * 3 + 3 * 3),
            2 * 5 * 3,
        ),
        (
            layers.TimeDistributed(layers.Conv1D(2, 3)),
            (5, 6, 4),
            3 * 4 * 2 + 2,
            5 * 4 * 2 * 3 * 4,
            5 * 4 * 2,
        ),
        (layers.TimeDistributed(layers.MaxPooling1D()), (5, 6, 4), 0, 0, 120),
        (
            layers.SpectralNormalization(layers.Dense(3)),
            (5, 4),
            4 * 3 + 3,
            5 * 4 * 3,
            5 * 3,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_sequence_layers_by_hand(layer, shape, parameters, table2, added):
    image = keras.Input(shape)
    model = keras.Model(image, layer(image))
    assert complexity(model).parameters == parameters
    assert complexity(model).flops == table2
    assert complexity(model, convention="table3").flops == table2 + added


def count_attention(layer, *inputs, **arguments):
    tensors = [keras.Input(shape) for shape in inputs]
    output = layer(*tensors, **arguments)
    counts = complexity(keras.Model(tensors, output), convention="table3")
    assert counts.uncounted == ()
    return counts


# 3 queries of 8 numbers, 5 values of 6 and their keys of 4; 2 heads whose
# keys have 7 numbers and whose values have 9.
@pytest.mark.parametrize(
    "arguments, biases",
    [
        ({"use_bias": False}, 0),
        ({}, 3 * 2 * 7 + 5 * 2 * 7 + 5 * 2 * 9 + 3 * 8),
    ],
)
def test_attention_by_hand(arguments, biases):
    layer = layers.MultiHeadAttention(2, 7, value_dim=9, **arguments)
    counts = count_attention(layer, (3, 8), (5, 6), (5, 4))
    projections = 3 * 8 * 2 * 7 + 5 * 4 * 2 * 7 + 5 * 6 * 2 * 9
    assert counts.macs == projections + 2 * 3 * 5 * (7 + 9) + 3 * 2 * 9 * 8
    assert counts.flops == counts.macs + biases
    assert counts.layers[-1].parameters == counts.parameters > 0


def test_a_gate_is_a_projection_of_the_query():
    plain, gated = (
        count_attention(
            layers.MultiHeadAttention(
                2, 7, value_dim=9, use_gate=use_gate, use_bias=False
            ),
            (3, 8),
            (5, 6),
        )
        for use_gate in (False, True)
    )
    assert gated.macs - plain.macs == 3 * 8 * 2 * 9


def test_attention_of_places_and_another_output_by_hand():
    # 4 rows of 3 places, of which each sees its row.
    layer = layers.MultiHeadAttention(
        2, 7, output_shape=5, attention_axes=2, use_bias=False
    )
    counts = count_attention(layer, (4, 3, 8), (4, 3, 8))
    projections = 3 * (4 * 3 * 8 * 2 * 7)
    products = 2 * (2 * 4 * 3 * 3 * 7)
    assert counts.macs == projections + products + 4 * 3 * 2 * 7 * 5


def test_attention_that_returns_its_scores_and_takes_a_mask():
    layer = layers.MultiHeadAttention(2, 7, use_bias=False)
    image = keras.Input((3, 8))
    mask = keras.Input((3, 3), dtype="bool")
    output, scores = layer(
        image, image, attention_mask=mask, return_attention_scores=True
    )
    counts = complexity(keras.Model([image, mask], [output, scores]))
    assert counts.macs == 4 * (3 * 8 * 2 * 7) + 2 * (2 * 3 * 3 * 7)


def test_attention_of_grouped_queries_by_hand():
    layer = layers.GroupQueryAttention(7, 4, 2, use_gate=True)
    counts = count_attention(layer, (3, 8), (5, 8))
    queries, keys = 3 * 4 * 7, 5 * 2 * 7
    projections = 2 * queries * 8 + 2 * keys * 8
    assert counts.macs == projections + 2 * (4 * 3 * 5 * 7) + 3 * 4 * 7 * 8
    assert counts.flops == counts.macs + 2 * (queries + keys) + 3 * 8


@pytest.mark.parametrize(
    "layer, shapes, macs",
    [
        (layers.Attention(), [(3, 8), (5, 8)], 3 * 5 * (8 + 8)),
        (
            layers.Attention(use_scale=True),
            [(3, 8), (5, 6), (5, 8)],
            3 * 5 * (8 + 6),
        ),
        (layers.AdditiveAttention(), [(3, 8), (5, 8)], 3 * 5 * (8 + 8)),
        (layers.Dot(axes=(1, 2)), [(8, 3), (5, 8)], 3 * 5 * 8),
        (layers.Dot(axes=1), [(8,), (8,)], 8),
    ],
    ids=["attention", "scaled", "additive", "dot", "dot_of_vectors"],
)
def test_products_of_tensors_by_hand(layer, shapes, macs):
    tensors = [keras.Input(shape) for shape in shapes]
    assert complexity(keras.Model(tensors, layer(tensors))).macs == macs


def test_a_reversed_embedding_is_a_linear_layer():
    words = keras.Input((5,))
    embedding = layers.ReversibleEmbedding(9, 3)
    model = keras.Model(words, embedding(embedding(words), reverse=True))
    counts = complexity(model)
    assert counts.macs == 5 * 3 * 9
    assert counts.parameters == 9 * 3
