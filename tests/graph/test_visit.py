import keras
import pytest
from keras import layers

from keras_epsanet.graph.visit import (
    bind,
    check_functional,
    einsum_sizes,
    first,
    is_functional,
    visit_calls,
)


class Plain(keras.Model):
    """A functional model under another name."""


class WithCall(keras.Model):
    def call(self, inputs):
        return super().call(inputs)


class Subclass(WithCall):
    """Whose call is that of the class above."""


# A library whose name begins as that of Keras.
Foreign = type(
    "Foreign", (WithCall,), {"call": WithCall.call, "__module__": "keras_x.y"}
)


def make(cls):
    image = keras.Input((3,), name="image")
    return cls(image, layers.Dense(3, name="dense")(image))


@pytest.mark.parametrize(
    "build, functional, message",
    [
        (lambda: make(keras.Model), True, None),
        (lambda: make(Plain), True, None),
        (
            lambda: keras.Sequential([keras.Input((3,)), layers.Dense(3)]),
            True,
            None,
        ),
        (lambda: make(WithCall), False, "WithCall has a `call` of its own"),
        (lambda: make(Subclass), False, "Subclass has a `call` of its own"),
        (lambda: make(Foreign), False, "Foreign has a `call` of its own"),
        (lambda: keras.Sequential([layers.Dense(3)]), False, "functional"),
        (lambda: layers.Dense(3), False, "functional"),
        (lambda: None, False, "functional"),
    ],
)
def test_what_computes_what_its_graph_says(build, functional, message):
    model = build()
    assert is_functional(model) == functional
    if functional:
        check_functional(model)
        return
    with pytest.raises(ValueError, match=f"{message}.*Received: model="):
        check_functional(model)


def test_arguments_come_in_the_order_of_the_call():
    class Some(layers.Layer):
        def call(self, inputs, scale=1, offset=0):
            return inputs

    arguments = bind(Some(), ("x",), {"offset": 2, "scale": 3})
    assert list(arguments.items()) == [
        ("inputs", "x"),
        ("scale", 3),
        ("offset", 2),
    ]
    # Keras hands over what a call need not have.
    arguments = bind(Some(), (), {"training": True, "inputs": "x"})
    assert arguments == {"inputs": "x", "training": True}
    assert first(arguments) == "x"
    assert first(bind(Some(), ("x", 2), {})) == "x"


@pytest.mark.parametrize(
    "names, shape, sizes",
    [
        ("abc", (2, 3, 4), {"a": 2, "b": 3, "c": 4}),
        ("...bc", (9, 8, 3, 4), {"b": 3, "c": 4}),
        ("ab...", (2, 3, 8, 9), {"a": 2, "b": 3}),
        ("a...c", (2, 8, 9, 4), {"a": 2, "c": 4}),
    ],
)
def test_sizes_of_the_letters_of_an_equation(names, shape, sizes):
    assert einsum_sizes(names, shape) == sizes


def test_every_call_is_visited_in_order_with_its_tensors():
    image = keras.Input((4,), name="image")
    shared = layers.Dense(4, name="shared")
    model = keras.Model(image, shared(keras.ops.relu(shared(image))))
    visits = []
    outputs = visit_calls(model, lambda *visit: visits.append(visit))
    names = [operation.name for operation, _, _ in visits]
    assert names[0] == names[2] == "shared" and len(names) == 3
    assert visits[0][0] is visits[2][0] is shared
    for (_, _, result), (_, arguments, _) in zip(visits, visits[1:]):
        assert first(arguments) is result
    assert outputs[0] is visits[-1][2]
    # The model has no more calls than before.
    assert len(shared._inbound_nodes) == 2
    assert model.outputs[0] is not outputs[0]


def test_other_inputs_give_other_sizes():
    image = keras.Input((None, 3), name="image")
    model = keras.Model(image, layers.Conv1D(2, 3)(image))
    shapes = []
    (output,) = visit_calls(
        model,
        lambda operation, arguments, result: shapes.append(result.shape),
        [keras.Input(batch_shape=(1, 7, 3), name="image")],
    )
    assert shapes == [(1, 5, 2)] == [output.shape]
