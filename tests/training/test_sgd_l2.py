import inspect

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_epsanet.training import SGDL2, LossScale

SHAPES = ((3, 4), (4,), (4, 2), (2,))
STEPS = 50

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tests TensorFlow's own"
)


def arrays(seed, number=1):
    random = np.random.default_rng(seed)
    sets = [
        [random.standard_normal(shape) for shape in SHAPES]
        for _ in range(number)
    ]
    return sets[0] if number == 1 else sets


def train(apply, optimizer, gradients, start=None):
    """Weights after steps with the given gradients."""
    variables = [
        keras.Variable(array, dtype="float64", name=f"w{i}")
        for i, array in enumerate(start or arrays(0))
    ]
    for step in gradients:
        apply(optimizer, step, variables)
    return numpy_of(variables)


def numpy_of(variables):
    return [ops.convert_to_numpy(variable) for variable in variables]


def assert_equal(left, right, tolerance=1e-12):
    assert len(left) == len(right)
    for a, b in zip(left, right):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("momentum, nesterov", [(0, 0), (0.9, 0), (0.9, 1)])
@pytest.mark.parametrize("clipnorm", [None, 1.0])
def test_equals_pytorch(float64, apply, momentum, nesterov, clipnorm):
    gradients = [
        [scale * array for array in step]
        for scale, step in zip(
            np.linspace(0.01, 1, STEPS), arrays(1, STEPS)
        )  # The first ones are too small to be clipped.
    ]
    rates = [0.1 / 10 ** (i // 15) for i in range(STEPS)]
    parameters = [torch.nn.Parameter(torch.tensor(a)) for a in arrays(0)]
    reference = torch.optim.SGD(
        parameters,
        rates[0],
        momentum=momentum,
        nesterov=bool(nesterov),
        weight_decay=0.05,
    )
    optimizer = SGDL2(
        rates[0],
        momentum=momentum,
        nesterov=bool(nesterov),
        l2=0.05,
        global_clipnorm=clipnorm,
    )
    variables = [keras.Variable(a, dtype="float64") for a in arrays(0)]
    for rate, step in zip(rates, gradients):
        optimizer.learning_rate = reference.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters, step):
            parameter.grad = torch.tensor(gradient)
        if clipnorm:
            torch.nn.utils.clip_grad_norm_(parameters, clipnorm)
        reference.step()
        apply(optimizer, step, variables)
    expected = [parameter.detach().numpy() for parameter in parameters]
    assert_equal(numpy_of(variables), expected)


def test_excluded_variables_have_no_l2_term(float64, apply):
    zeros = [[np.zeros(shape) for shape in SHAPES]]
    optimizer = SGDL2(0.1, l2=0.5)
    # By name and by variable, whose path stands for it.
    first = keras.Variable(np.ones((3, 4)), dtype="float64", name="w0")
    optimizer.exclude_from_l2(var_list=[first], var_names=["2"])
    optimizer = SGDL2.from_config(optimizer.get_config())
    start = arrays(0)
    kept, shrunk, also_kept, _ = train(apply, optimizer, zeros, start)
    assert_equal([kept, also_kept], [start[0], start[2]], 0)
    assert_equal([shrunk], [start[1] * (1 - 0.1 * 0.5)])


def test_excluded_variables_are_known_after_loading(apply, tmp_path):
    # Whose paths lose the name of the model when it is loaded.
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = SGDL2(0.1, l2=0.5)
    optimizer.exclude_from_l2(var_list=[model.layers[0].bias])
    model.compile(optimizer, "mse")
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    kernel, bias = model.trainable_weights
    bias.assign([1.0, 2.0, 3.0])
    before = numpy_of([kernel, bias])
    apply(model.optimizer, [np.zeros((4, 3)), np.zeros(3)], [kernel, bias])
    assert_equal(numpy_of([kernel, bias]), [before[0] * 0.95, before[1]], 1e-6)


@pytest.mark.parametrize("wrap", [lambda x: x, LossScale])
def test_keras_name_of_the_exclusion_is_one_too(float64, apply, wrap):
    zeros = [[np.zeros(shape) for shape in SHAPES]]
    optimizer = SGDL2(0.1, l2=0.5)
    first = keras.Variable(np.ones((3, 4)), dtype="float64", name="w0")
    wrapped = wrap(optimizer)
    # Names are regular expressions, as Keras has them.
    wrapped.exclude_from_weight_decay(var_list=[first], var_names=["[23]$"])
    start = arrays(0)
    kept, shrunk, *also_kept = train(apply, wrapped, zeros, start)
    assert_equal([kept, *also_kept], [start[0], *start[2:]], 0)
    assert_equal([shrunk], [start[1] * (1 - 0.1 * 0.5)])


def test_keras_weight_decay_cannot_be_set_later():
    optimizer = SGDL2()
    with pytest.raises(ValueError, match="use `l2`. Received: weight_decay=0"):
        optimizer.weight_decay = 0.1
    assert optimizer.weight_decay is None


def test_exclusion_comes_before_building():
    optimizer = SGDL2()
    optimizer.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match=r"Received: var_list=None, var_na"):
        optimizer.exclude_from_l2(var_names=["bias"])


def test_exclusion_of_two_variables_of_one_path_is_refused():
    variables = [keras.Variable([1.0], name="same") for _ in range(2)]
    optimizer = SGDL2()
    optimizer.exclude_from_l2(var_list=variables[:1])
    with pytest.raises(ValueError, match="Received: 2 variables like same"):
        optimizer.build(variables)


@pytest.mark.parametrize("nesterov", [False, True])
def test_accumulation_equals_one_big_batch(float64, apply, nesterov):
    small = arrays(2, 12)
    big = [
        [np.mean(parts, axis=0) for parts in zip(*small[i : i + 3])]
        for i in range(0, 12, 3)
    ]
    settings = {
        "nesterov": nesterov,
        "l2": 0.05,
        "global_clipnorm": 1.0,
    }
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay
    one = SGDL2(schedule([1], [0.1, 0.01]), **settings)
    several = SGDL2(
        schedule([5], [0.1, 0.01]), gradient_accumulation_steps=3, **settings
    )
    assert_equal(train(apply, several, small), train(apply, one, big))
    assert int(several.iterations) == int(one.iterations) == 4


def test_batches_between_updates_change_no_weight(float64, apply):
    optimizer = SGDL2(gradient_accumulation_steps=3)
    assert_equal(train(apply, optimizer, arrays(2, 2)), arrays(0), 0)
    assert int(optimizer.iterations) == 0
    for velocity in optimizer.momentums:
        assert not ops.convert_to_numpy(velocity).any()


@pytest.mark.parametrize(
    "settings, expected",
    [
        # Of the gradient (3, 4), whose norm is 5, and (0, 1).
        ({"clipnorm": 1.0}, [-0.6, -0.8, 0, -1]),
        ({"clipvalue": 2.0}, [-2, -2, 0, -1]),
        ({"global_clipnorm": 26**0.5 / 2}, [-1.5, -2, 0, -0.5]),
        ({"loss_scale_factor": 2.0}, [-1.5, -2, 0, -0.5]),
    ],
    ids=["clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor"],
)
def test_keras_other_arguments_are_honored(float64, apply, settings, expected):
    optimizer = SGDL2(1.0, momentum=0, l2=0, **settings)
    pair = [keras.Variable([0.0, 0.0], dtype="float64") for _ in range(2)]
    apply(optimizer, [np.array([3.0, 4]), np.array([0.0, 1])], pair)
    np.testing.assert_allclose(
        np.concatenate(numpy_of(pair)), expected, atol=1e-6
    )


@tensorflow_only
def test_sparse_gradients_are_as_dense_ones():
    import tensorflow as tf

    def trained(sparse):
        table = keras.Variable(np.ones((4, 2)), dtype="float32")
        optimizer = SGDL2(0.1, l2=0.5, global_clipnorm=1.0)
        for rows in ([0, 0, 3], [1]):
            gradient = tf.IndexedSlices(
                tf.ones((len(rows), 2)), tf.constant(rows), (4, 2)
            )
            if not sparse:
                gradient = tf.convert_to_tensor(gradient)
            optimizer.apply([gradient], [table])
        return table.numpy()

    np.testing.assert_array_equal(trained(True), trained(False))


def names_of(*functions, without=()):
    """Names of the arguments of functions."""
    names = {n for f in functions for n in inspect.signature(f).parameters}
    return names - {"self", "args", "kwargs", *without}


def test_survives_serialisation():
    settings = {
        "learning_rate": keras.optimizers.schedules.PiecewiseConstantDecay(
            [1], [0.1, 0.01]
        ),
        "momentum": 0.8,
        "nesterov": True,
        "l2": 5e-4,
        "global_clipnorm": 2.0,
        "gradient_accumulation_steps": 4,
        "loss_scale_factor": 8.0,
        "name": "mine",
    }
    optimizer = SGDL2(**settings)
    optimizer.exclude_from_l2(
        var_list=[keras.Variable([1.0], name="w0")],
        var_names=["bias", "gamma"],
    )
    optimizer.scale_rate([keras.Variable([1.0], name="w1")], 0.1)
    config = optimizer.get_config()
    # Every argument that has a use, by its value, and what is called.
    refused = ("weight_decay", "use_ema", "ema_momentum")
    refused += ("ema_overwrite_frequency",)
    arguments = names_of(
        SGDL2.__init__, keras.optimizers.SGD.__init__, without=refused
    )
    assert set(config) == arguments | {"l2_exclusions", "scaled_rates"}
    others = {"clipnorm": None, "clipvalue": None}  # One of three.
    learning_rate = keras.saving.serialize_keras_object(
        settings["learning_rate"]
    )
    assert config == {
        **settings,
        **others,
        "learning_rate": learning_rate,
        "l2_exclusions": {"paths": ["w0"], "names": ["bias", "gamma"]},
        "scaled_rates": [["w1", 0.1]],
    }
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is SGDL2 and copy.get_config() == config


def test_defaults_are_the_paper_s():
    config = SGDL2().get_config()
    assert config["learning_rate"] == pytest.approx(0.1)
    expected = {
        "momentum": 0.9,
        "nesterov": False,
        "l2": 1e-4,
        "global_clipnorm": None,
        "gradient_accumulation_steps": None,
        "l2_exclusions": {"paths": [], "names": []},
    }
    assert {name: config[name] for name in expected} == expected


@pytest.mark.parametrize("setting", ["clipnorm", "clipvalue"])
def test_the_other_ways_of_clipping_survive_serialisation(setting):
    optimizer = SGDL2(**{setting: 2.0})
    copy = SGDL2.from_config(optimizer.get_config())
    assert getattr(copy, setting) == 2.0


def test_a_file_of_version_0_1_0_is_read_without_its_average():
    former = {"use_ema": True, "ema_momentum": 0.5, "l2": 0.25}
    with pytest.warns(UserWarning, match="version 0.1.0"):
        optimizer = SGDL2.from_config(former)
    assert optimizer.l2 == 0.25 and not optimizer.use_ema


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": -0.1},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"nesterov": True, "momentum": 0},
        {"l2": -1e-4},
        {"l2": float("nan")},
        {"global_clipnorm": 0.0},
        {"gradient_accumulation_steps": 1},
        {"gradient_accumulation_steps": 2.5},
        {"weight_decay": 1e-4},
        {"use_ema": True},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments):
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"Received: {name}="):
        SGDL2(**arguments)


def test_keras_own_average_of_weights_is_refused_later_too():
    optimizer = SGDL2()
    with pytest.raises(ValueError, match="Received: use_ema=True"):
        optimizer.use_ema = True
    assert not optimizer.use_ema


CONTINUE = """
import keras, numpy as np
import keras_epsanet.training

keras.utils.set_random_seed(0)
if keras.backend.backend() == "tensorflow":
    # Otherwise even the same process differs by a rounding at times.
    import tensorflow as tf
    tf.config.experimental.enable_op_determinism()

def batches(model, steps):
    for i in steps:
        x = np.random.default_rng(i).normal(size=(8, 4)).astype("float32")
        model.train_on_batch(x, x[:, :3].argmax(-1))
"""


def test_saved_between_two_updates_it_continues_bit_for_bit(
    run_python, tmp_path
):
    # In a process of its own, for its operations are deterministic.
    run_python(
        CONTINUE
        + """
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
optimizer = keras_epsanet.training.SGDL2(
    keras.optimizers.schedules.CosineDecay(0.1, 20), global_clipnorm=1.0,
    gradient_accumulation_steps=3)
optimizer.exclude_from_l2(var_list=[model.layers[0].bias])
model.compile(keras_epsanet.training.LossScale(optimizer, 4.0, 3),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True),
              # Sooner than the tracing of so few steps.
              run_eagerly=keras.backend.backend() == "tensorflow")
batches(model, range(5))
model.save("model.keras")
batches(model, range(5, 12))
np.savez("expected.npz", *[np.array(v) for v in model.get_weights()],
         *[v.numpy() for v in model.optimizer.variables])

model = keras.saving.load_model("model.keras")
batches(model, range(5, 12))
np.savez("actual.npz", *[np.array(v) for v in model.get_weights()],
         *[v.numpy() for v in model.optimizer.variables])
"""
    )
    expected = np.load(tmp_path / "expected.npz")
    actual = np.load(tmp_path / "actual.npz")
    # Two weights, each with velocity and accumulated gradient, and the steps,
    # the scale and its steps.
    assert len(expected) == len(actual) >= 2 * 3 + 3
    for name in expected:
        np.testing.assert_array_equal(expected[name], actual[name])
