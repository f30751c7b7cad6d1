import keras
import numpy as np
import pytest

from keras_epsanet.layers import BatchNormalization, GroupedConv2D
from keras_epsanet.weights.entries import (
    Constant,
    Entry,
    assign_entries,
    layer_entries,
)

# The shape and axes of a Keras array, what else differs, and how PyTorch's
# follows from it.
ENTRIES = {
    "vector": ((6,), (0,), {}, lambda x: x),
    "matrix": ((6, 4), (1, 0), {}, lambda x: x.T),
    "pointwise": (
        (6, 4),
        (1, 0),
        {"squeezed": True},
        lambda x: x.T[:, :, None, None],
    ),
    "kernel": (
        (3, 5, 4, 6),
        (3, 2, 0, 1),
        {},
        lambda x: x.transpose(3, 2, 0, 1),
    ),
    "scales": (
        (6,),
        (0,),
        {"scales": 3},
        lambda x: x[[4, 5, 2, 3, 0, 1]],
    ),
    "scales of the inputs": (
        (1, 1, 6, 4),
        (3, 2, 0, 1),
        {"scales": 2, "scale_axis": 1},
        lambda x: x.transpose(3, 2, 0, 1)[:, [3, 4, 5, 0, 1, 2]],
    ),
    "vector of an image": (
        (6,),
        (0,),
        {"shape": (1, -1, 1, 1)},
        lambda x: x[None, :, None, None],
    ),
    "window": (
        (2 * 3 * 5, 4),
        (1, 0),
        {"window": (2, 3)},
        lambda x: x.reshape(2, 3, 5, 4).transpose(3, 2, 0, 1).reshape(4, 30),
    ),
}


def entry_of(shape, axes, options, key="some"):
    array = np.random.default_rng(0).standard_normal(shape).astype("float32")
    return Entry(key, keras.Variable(array), axes, **options), array


@pytest.mark.parametrize("name", ENTRIES)
def test_layouts_of_a_variable(name):
    *arguments, expected = ENTRIES[name]
    entry, array = entry_of(*arguments)
    found = entry.to_torch()
    np.testing.assert_array_equal(found, expected(array))
    assert entry.torch_shape == found.shape
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(entry.from_torch(found), array)


def test_entries_that_do_not_fit_are_all_named_and_none_is_assigned():
    entries = [entry_of((6,), (0,), {}, key=key)[0] for key in "abc"]
    before = [entry.variable.numpy() for entry in entries]
    state = {"a": np.ones(6), "b": np.ones(5), "d": np.ones(1)}
    state["d.num_batches_tracked"] = np.array(3)
    with pytest.raises(ValueError) as error:
        assign_entries(entries, state)
    assert str(error.value).endswith(
        "Entries missing: c; unexpected: d; of another shape: "
        "b (received (5,), expected (6,))"
    )
    for entry, array in zip(entries, before):
        np.testing.assert_array_equal(entry.variable.numpy(), array)


def test_constants_are_compared_and_not_assigned():
    table = np.linspace(0, 1, 6, dtype="float32").reshape(2, 3)
    entry = Constant("table", table)
    np.testing.assert_array_equal(entry.to_torch(), table)
    assert entry.torch_shape == (2, 3)
    assign_entries([entry], {"table": table + 8e-6})
    with pytest.raises(ValueError, match="Entries of other values: table$"):
        assign_entries([entry], {"table": table + 2e-5})
    with pytest.raises(ValueError, match="Entries of other values: table$"):
        assign_entries([entry], {"table": table + 1e-3})
    with pytest.raises(ValueError, match="of another shape: table"):
        assign_entries([entry], {"table": table.T})
    with pytest.raises(ValueError, match="Entries missing: table$"):
        assign_entries([entry], {})


def built(layer, *shape):
    layer.build(shape)
    return layer


def shapes_of(*arguments, **options):
    entries = layer_entries(*arguments, **options)
    return {entry.key: entry.torch_shape for entry in entries}


def test_entries_of_layers():
    conv = built(GroupedConv2D(6, (3, 5), use_bias=True), None, 8, 8, 4)
    expected = {"a.weight": (6, 4, 3, 5), "a.bias": (6,)}
    assert shapes_of("a", conv) == expected
    assert shapes_of("a", conv, pointwise=True) == expected
    dense = built(keras.layers.Dense(6, use_bias=False), None, 4)
    assert shapes_of("a", dense) == {"a.weight": (6, 4)}
    assert shapes_of("a", dense, pointwise=True) == {"a.weight": (6, 4, 1, 1)}
    one = built(keras.layers.Conv1D(1, 5, use_bias=False), None, 9, 1)
    assert shapes_of("a", one) == {"a.weight": (1, 1, 5)}
    variable = keras.Variable(np.zeros(6))
    assert shapes_of("a", variable) == {"a": (6,)}
    assert shapes_of("a", variable, shape=(1, -1, 1)) == {"a": (1, 6, 1)}


def test_entries_of_normalizations():
    norm = built(BatchNormalization(), None, 6)
    names = ("weight", "bias", "running_mean", "running_var")
    assert shapes_of("a", norm) == {f"a.{name}": (6,) for name in names}
    layer_norm = built(keras.layers.LayerNormalization(), None, 6)
    assert [*shapes_of("a", layer_norm)] == ["a.weight", "a.bias"]
    found = shapes_of("a", layer_norm, shape=(-1, 1, 1))
    assert set(found.values()) == {(6, 1, 1)}
    variables = [entry.variable for entry in layer_entries("a", norm)]
    wanted = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    assert all(x is y for x, y in zip(variables, wanted, strict=True))


def test_scales_stand_in_front_of_the_norm_and_the_inputs_of_a_kernel():
    norm = built(BatchNormalization(), None, 6)
    assert {x.scales for x in layer_entries("a", norm, scales=3)} == {3}
    conv = built(GroupedConv2D(2, 1, use_bias=True), None, 8, 8, 6)
    kernel, bias = layer_entries("a", conv, scales=3)
    assert (kernel.scales, kernel.scale_axis, bias.scales) == (3, 1, 1)
