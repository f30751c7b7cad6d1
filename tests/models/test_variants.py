import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_epsanet
from keras_epsanet.models import variants
from keras_epsanet.paper import TABLE_5

BACKEND = keras.backend.backend()
# Trainable parameters; table 2 of the paper rounds them.
PARAMETERS = {
    "epsanet50_small": 22_561_715,
    "epsanet50_large": 27_899_518,
    "epsanet101_small": 38_900_279,
    "epsanet101_large": 49_592_198,
}
VARIANTS = {
    "epsanet50_small": keras_epsanet.EPSANet50Small,
    "epsanet50_large": keras_epsanet.EPSANet50Large,
    "epsanet101_small": keras_epsanet.EPSANet101Small,
    "epsanet101_large": keras_epsanet.EPSANet101Large,
}
# Stage and its number of blocks in the networks of depth 50.
STAGES = [(2, 3), (3, 4), (4, 6), (5, 3)]
# XLA takes minutes to compile a large network for a CPU.
GOLDEN = ["epsanet50_small", "epsanet50_large"]
if BACKEND == "jax":
    GOLDEN = GOLDEN[:1]
# The gradients of its PSA modules are golden numbers too, of every backend.
GOLDEN_TRAINING = [
    pytest.param(
        variant,
        marks=[pytest.mark.large] * (BACKEND == "jax" or "large" in variant),
    )
    for variant in GOLDEN
]


def parameters(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def smoothed_cross_entropy(labels):
    """Label smoothing 0.1 on logits, averaged over the batch."""

    def loss(logits):
        targets = 0.9 * ops.one_hot(labels, logits.shape[-1]) + 0.1 / 1000
        log_probabilities = ops.log_softmax(logits, axis=-1)
        return -ops.mean(ops.sum(targets * log_probabilities, axis=-1))

    return loss


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_and_defaults(variant):
    model = VARIANTS[variant]()
    assert parameters(model) == PARAMETERS[variant]
    assert model.name == variant
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)
    assert model.layers[-1].activation is keras.activations.softmax


def test_parameters_of_large_with_the_kernels_of_the_text():
    model = keras_epsanet.EPSANet50Large(kernel_sizes=(3, 5, 7, 9))
    assert round(parameters(model) / 1e6, 2) == 30.10


@pytest.mark.parametrize("variant", GOLDEN)
def test_golden_inference(variant, golden, golden_state_dict):
    reference = golden(variant)
    model = VARIANTS[variant](
        input_shape=(64, 64, 3), classifier_activation=None
    )
    keras_epsanet.load_torch_weights(model, golden_state_dict(variant))
    outputs = {f"P{i}": f"conv{i}_block{n}_out" for i, n in STAGES}
    outputs = {k: model.get_layer(name).output for k, name in outputs.items()}
    outputs["logits"] = model.output
    both = keras.Model(model.input, outputs).predict(reference["x"], verbose=0)
    for level, features in both.items():
        if level == "logits":
            expected, features = reference["logits"], features
        else:
            assert features.shape == tuple(reference[f"{level}_shape"])
            expected = reference[f"{level}_mean_per_channel"]
            features = features.mean(axis=(0, 1, 2))
        np.testing.assert_allclose(
            features,
            expected,
            rtol=0,
            atol=1e-5 * np.abs(expected).max(),
            err_msg=level,
        )


@pytest.mark.parametrize("variant", GOLDEN_TRAINING)
def test_golden_training(
    variant, golden, golden_state_dict, value_and_gradients, tmp_path
):
    reference = golden(variant)
    state = golden_state_dict(variant)
    model = VARIANTS[variant](
        input_shape=(64, 64, 3), classifier_activation=None
    )
    keras_epsanet.load_torch_weights(model, state)
    loss, _, gradients = value_and_gradients(
        model,
        reference["train/x"],
        smoothed_cross_entropy(reference["train/labels"]),
        training=True,
    )
    expected = float(reference["train/loss_label_smoothing_0.1"])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)

    # Moving statistics, in PyTorch's names and scale order.
    path = tmp_path / "after.safetensors"
    keras_epsanet.save_torch_weights(model, path)
    after = keras_epsanet.weights.torch_files.read_checkpoint(path)
    for key in ("bn1.running_mean", "layer4.2.bn3.running_mean"):
        expected = reference[f"train/after/{key}"]
        np.testing.assert_allclose(after[key], expected, atol=1e-5)
    # Keras keeps the biased variance, PyTorch the unbiased one.
    pixels = 8 * 32 * 32
    kept = 0.9 * state["bn1.running_var"]
    unbiased = (after["bn1.running_var"] - kept) * pixels / (pixels - 1)
    np.testing.assert_allclose(
        kept + unbiased, reference["train/after/bn1.running_var"], rtol=1e-5
    )

    # Gradients, under the names they have in the state dict.
    for weight, gradient in zip(model.trainable_weights, gradients):
        assert gradient.any(), f"{weight.path} has no gradient"
        weight.assign(gradient)
    keras_epsanet.save_torch_weights(model, path)
    norms = {
        key: np.linalg.norm(gradient)
        for key, gradient in keras_epsanet.weights.torch_files.read_checkpoint(
            path
        ).items()
    }
    keys = [k for k in reference if k.startswith("train/grad_norm/")]
    assert len(keys) == len(model.trainable_weights)
    errors = []
    for key in keys:
        norm = norms[key.removeprefix("train/grad_norm/")]
        errors.append(abs(norm - reference[key]) / reference[key])
    assert np.median(errors) < 0.005
    assert np.quantile(errors, 0.95) < 0.05


@pytest.mark.large
@pytest.mark.skipif(BACKEND == "jax", reason="minutes of compilation")
@pytest.mark.parametrize("variant", ["epsanet101_small", "epsanet101_large"])
def test_every_trainable_parameter_gets_a_gradient(
    variant, golden_state_dict, value_and_gradients
):
    model = VARIANTS[variant](
        input_shape=(32, 32, 3), classifier_activation=None
    )
    keras_epsanet.load_torch_weights(model, golden_state_dict(variant))
    x = np.random.default_rng(0).standard_normal((8, 32, 32, 3))
    _, _, gradients = value_and_gradients(
        model, x.astype("float32"), smoothed_cross_entropy(np.arange(8))
    )
    for weight, gradient in zip(model.trainable_weights, gradients):
        assert np.isfinite(gradient).all() and gradient.any(), weight.path


def test_groups_of_table_5_are_one_argument():
    counts = {}
    for groups in TABLE_5:
        model = keras_epsanet.EPSANet50Small(
            groups=groups,
            include_top=False,
            stackwise_num_blocks=(1, 1, 1, 1),
        )
        assert model.get_layer("conv2_block1_psa").groups == groups
        counts[groups] = parameters(model)
    assert sorted(counts, key=counts.get)[-1] == (1, 4, 8, 16)


ARGUMENTS = {
    "include_top": False,
    "weights": "some.keras",
    "input_tensor": "tensor",
    "input_shape": (64, 64, 3),
    "pooling": "max",
    "classes": 7,
    "classifier_activation": None,
    "name": "some",
    "include_preprocessing": True,
    "groups": (1, 1, 1, 1),
}


@pytest.mark.parametrize("variant", variants.MODEL_CONFIGS)
def test_every_argument_is_passed_on(variant, monkeypatch):
    monkeypatch.setattr(variants, "EPSANet", lambda **kwargs: kwargs)
    function = VARIANTS[variant]
    names = set(inspect.signature(function).parameters) - {"kwargs"}
    assert names == set(ARGUMENTS) - {"groups"}
    expected = variants.MODEL_CONFIGS[variant] | ARGUMENTS
    assert function(**ARGUMENTS) == expected
