import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANetBackbone
from keras_epsanet.layers import PSA
from keras_epsanet.weights import inherit_resnet
from keras_epsanet.weights.embedding import Pyramid, best_orders, exact_order
from keras_epsanet.weights.inherit_resnet import is_network, plan_resnet
from keras_epsanet.weights.resnet_names import ResNetWeights, read_resnet

WIDTHS = (128, 256)
LARGE = {"kernel_sizes": (3, 5, 5, 7), "groups": (32,) * 4, "expansion": 2}
LARGE_SCALES = LARGE["kernel_sizes"], LARGE["groups"]
SIZES = {"input_shape": (40, 33, 3), "classifier_activation": None}


def make_state(blocks, filters, groups, expansion, classes=5, channels=3):
    """A ResNet's state dict of random numbers, in torchvision's names."""
    generator = np.random.default_rng(0)
    state = {}

    def convolution(name, outputs, inputs, size):
        fan = inputs * size * size
        state[f"{name}.weight"] = generator.normal(
            0, fan**-0.5, (outputs, inputs, size, size)
        )

    def normalization(name, width):
        state[f"{name}.weight"] = generator.uniform(0.5, 1.5, width)
        state[f"{name}.bias"] = generator.normal(0, 0.3, width)
        state[f"{name}.running_mean"] = generator.normal(0, 0.3, width)
        state[f"{name}.running_var"] = generator.uniform(0.5, 1.5, width)

    convolution("conv1", 64, channels, 7)
    normalization("bn1", 64)
    before = 64
    for stage, (number, width) in enumerate(zip(blocks, filters), start=1):
        for i in range(number):
            block = f"layer{stage}.{i}"
            after = width * expansion
            convolution(f"{block}.conv1", width, before, 1)
            convolution(f"{block}.conv2", width, width // groups, 3)
            convolution(f"{block}.conv3", after, width, 1)
            normalization(f"{block}.bn1", width)
            normalization(f"{block}.bn2", width)
            normalization(f"{block}.bn3", after)
            if i == 0:
                convolution(f"{block}.downsample.0", after, before, 1)
                normalization(f"{block}.downsample.1", after)
            before = after
    if classes:
        state["fc.weight"] = generator.normal(0, 0.02, (classes, before))
        state["fc.bias"] = generator.normal(0, 0.02, classes)
    state = {key: value.astype("float32") for key, value in state.items()}
    return ResNetWeights(
        state, tuple(blocks), tuple(filters), groups, expansion, classes
    )


def inherit(model, weights):
    plan = plan_resnet(model, weights)
    for variable, array in plan.assignments:
        variable.assign(array)
    return plan


@pytest.fixture
def run_resnet(torch_resnet):
    """Function that computes what PyTorch's ResNet does of NHWC images."""
    import torch

    def run(weights, images):
        network = torch_resnet(*weights[1:])
        state = network.state_dict()
        for key, array in weights.state.items():
            state[key] = torch.from_numpy(array)
        network.load_state_dict(state)
        with torch.no_grad():
            images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
            return network(images).numpy()

    return run


def make_images(count=2):
    generator = np.random.default_rng(1)
    return generator.normal(size=(count, 40, 33, 3)).astype("float32")


@pytest.mark.parametrize("kernel_sizes", [(3, 5, 5, 7), (3, 5, 7, 9)])
def test_large_computes_what_resnext_computes(kernel_sizes, run_resnet):
    weights = make_state((1, 2), WIDTHS, 32, 2)
    model = EPSANet(
        (1, 2),
        WIDTHS,
        **{**LARGE, "kernel_sizes": kernel_sizes},
        classes=5,
        **SIZES,
    )
    plan = inherit(model, weights)
    assert not plan.partly and not plan.left and not plan.pairs
    images = make_images()
    expected = run_resnet(weights, images)
    found = model.predict(images, verbose=0)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def trained():
    """ResNeXt and EPSANet Large after one step of training from its weights.

    Returns them, their losses, and the weights of the second one before.
    """
    weights = make_state((1, 1), WIDTHS, 32, 2)
    scales = [((3,), (32,)), (LARGE["kernel_sizes"], LARGE["groups"])]
    images, models, losses = make_images(8), [], []
    for sizes in scales:
        model = EPSANet((1, 1), WIDTHS, *sizes, expansion=2, classes=5, **SIZES)
        inherit(model, weights)
        for name in ("conv2_block1_psa", "conv3_block1_psa"):
            # Both of its units may start with 0 for every image.
            fc1 = model.get_layer(name).se.fc1
            fc1.bias.assign(keras.ops.ones(fc1.bias.shape))
            fc1.kernel.assign(keras.ops.zeros(fc1.kernel.shape))
        before = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01), loss)
        losses.append(model.train_on_batch(images, np.arange(8) % 5))
        models.append(model)
    return *models, losses, before


def test_the_first_step_has_the_loss_and_statistics_of_resnext(trained):
    source, model, losses, _ = trained
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for layer in model.layers:
        if not layer.name.endswith("_bn"):
            continue
        other = source.get_layer(layer.name)
        order = slice(None)
        if layer.name.endswith("_2_bn"):
            width = layer.gamma.shape[0]
            order = exact_order(32, Pyramid(width, width, *LARGE_SCALES))
        for name in ("moving_mean", "moving_variance"):
            wanted = keras.ops.convert_to_numpy(getattr(other, name))[order]
            found = keras.ops.convert_to_numpy(getattr(layer, name))
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_first_step_reaches_the_rims_and_fc2(trained):
    _, model, _, before = trained
    for name in ("conv2_block1_psa", "conv3_block1_psa"):
        psa = model.get_layer(name)
        for branch in psa.spc.convolutions[1:]:
            rim = keras.ops.convert_to_numpy(branch.kernel)[0]
            assert not before[branch.kernel.path][0].any() and rim.all()
        kernel = psa.se.fc2.kernel
        assert not before[kernel.path].any()
        assert keras.ops.convert_to_numpy(kernel).any()


def test_channels_first_computes_the_same(run_resnet):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no such convolution on a CPU")
    weights = make_state((1, 1), WIDTHS, 32, 2)
    model = EPSANet(
        (1, 1),
        WIDTHS,
        **LARGE,
        classes=5,
        input_shape=(3, 40, 33),
        classifier_activation=None,
        data_format="channels_first",
    )
    inherit(model, weights)
    images = make_images()
    expected = run_resnet(weights, images)
    found = model.predict(images.transpose(0, 3, 1, 2), verbose=0)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_one_scale_is_a_resnet(run_resnet):
    weights = make_state((1, 1), (64, 128), 1, 4)
    model = EPSANet((1, 1), (64, 128), (3,), (1,), classes=5, **SIZES)
    assert not inherit(model, weights).partly
    images = make_images()
    expected = run_resnet(weights, images)
    found = model.predict(images, verbose=0)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_network_does_not_change_with_the_tensors_that_it_was_given():
    state = make_state((1,), (128,), 32, 2).state
    model = EPSANet((1,), (128,), **LARGE, classes=5, **SIZES)
    inherit(model, read_resnet(state))
    before = [np.copy(keras.ops.convert_to_numpy(w)) for w in model.weights]
    for array in state.values():
        array += 1  # As a training of the source does it, in place.
    for weight, expected in zip(model.weights, before):
        np.testing.assert_array_equal(weight, expected, weight.path)


def test_every_weight_of_the_target_is_set_but_those_of_fc1():
    weights = make_state((1, 2), WIDTHS, 32, 2)
    model = EPSANet((1, 2), WIDTHS, **LARGE, classes=5, **SIZES)
    plan = plan_resnet(model, weights)
    assigned = [id(variable) for variable, _ in plan.assignments]
    assert len(set(assigned)) == len(assigned)
    left = [w.path for w in model.weights if id(w) not in assigned]
    assert len(left) == 2 * 3 and all("fc1" in path for path in left)


def test_every_weight_of_the_source_is_used():
    weights = make_state((1, 1), WIDTHS, 32, 2)

    class Noting(dict):
        used = set()

        def __getitem__(self, key):
            self.used.add(key)
            return super().__getitem__(key)

    state = Noting(weights.state)
    model = EPSANet((1, 1), WIDTHS, **LARGE, classes=5, **SIZES)
    plan_resnet(model, weights._replace(state=state))
    assert state.used == set(weights.state)


@pytest.mark.parametrize("groups", [(1, 4, 8, 16), (1, 2, 4, 4)])
def test_small_keeps_the_energy_of_the_best_order(groups):
    weights = make_state((1, 1), (64, 128), 1, 4)
    model = EPSANet((1, 1), (64, 128), (3, 5, 7, 9), groups, classes=5, **SIZES)
    plan = inherit(model, weights)
    mean = np.mean([1 / g for g in groups])
    # More than any order would keep of independent numbers.
    assert all(mean < share < 1.0 for share in plan.partly.values())
    assert list(plan.partly) == ["conv2_block1_psa", "conv3_block1_psa"]
    assert not set(plan.partly) & set(plan.exact)
    for psa, name, order in plan.pairs:
        assert isinstance(psa, PSA) and psa.name == name
        assert sorted(order) == list(range(psa.filters))


def test_inputs_weigh_what_batch_normalization_makes_of_them(monkeypatch):
    weights = make_state((1,), (64,), 1, 4)
    weights.state["layer1.0.bn1.bias"] *= 4
    weights.state["layer1.0.bn1.weight"][::2] *= -1
    seen = []

    def note(dense, pyramid, moments):
        seen.append(moments)
        return best_orders(dense, pyramid, moments)

    monkeypatch.setattr(inherit_resnet, "best_orders", note)
    model = EPSANet((1,), (64,), (3, 5), (1, 4), classes=5, **SIZES)
    inherit(model, weights)
    normal = np.random.default_rng(2).normal(size=(50_000, 64))
    scale, shift = (
        weights.state[f"layer1.0.bn1.{name}"] for name in ("weight", "bias")
    )
    squares = np.square(np.maximum(scale * normal + shift, 0)).mean(0)
    (moments,) = seen
    np.testing.assert_allclose(moments, squares, rtol=0.03, atol=0.01)


def test_what_is_around_a_module_is_in_its_order(run_resnet):
    # Where modules hold nothing, biases alone come through.
    weights = make_state((1, 1), (64, 128), 1, 4)
    for stage in (1, 2):
        weights.state[f"layer{stage}.0.conv2.weight"][:] *= 1e-6
    model = EPSANet(
        (1, 1), (64, 128), (3, 5, 7, 9), (1, 4, 8, 16), classes=5, **SIZES
    )
    inherit(model, weights)
    images = make_images()
    expected = run_resnet(weights, images)
    found = model.predict(images, verbose=0)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kwargs", [{"classes": 7}, {"include_top": False}])
def test_another_classifier_is_left(kwargs):
    weights = make_state((1, 1), WIDTHS, 32, 2)
    sizes = {**SIZES, **kwargs}
    if "include_top" in kwargs:
        del sizes["classifier_activation"]
    plan = plan_resnet(EPSANet((1, 1), WIDTHS, **LARGE, **sizes), weights)
    assert plan.left == (["predictions"] if "classes" in kwargs else [])


def test_a_backbone_inherits():
    weights = make_state((1, 1), WIDTHS, 32, 2)
    backbone = EPSANetBackbone(
        (1, 1), WIDTHS, **LARGE, image_shape=(40, 33, 3), prefix="a_"
    )
    plan = inherit(backbone, weights)
    assert "a_conv2_block1_psa" in plan.exact and not plan.left


@pytest.mark.parametrize(
    "other, reason",
    [
        ({"blocks": (1, 2)}, "blocks"),
        ({"filters": (256, 512)}, "filters of the 3×3"),
        ({"expansion": 4}, "for each of them"),
        ({"channels": 1}, "channels of an image"),
    ],
)
def test_other_networks_are_refused(other, reason):
    config = {
        "blocks": (1, 1),
        "filters": WIDTHS,
        "groups": 32,
        "expansion": 2,
        **other,
    }
    model = EPSANet((1, 1), WIDTHS, **LARGE, classes=5, **SIZES)
    with pytest.raises(ValueError, match=f"does not fit.*Received.*{reason}"):
        plan_resnet(model, make_state(**config))


def test_fused_models_are_refused():
    from keras_epsanet import fuse

    weights = make_state((1, 1), (64, 128), 1, 4)
    model = fuse(EPSANet((1, 1), (64, 128), (3,), (1,), classes=5, **SIZES))
    with pytest.raises(ValueError, match="must not be fused"):
        plan_resnet(model, weights)


def test_networks_are_known_by_their_layers():
    model = EPSANet((1,), (64,), (3,), (1,), classes=5, **SIZES, prefix="x")
    assert is_network(model)
    assert not is_network(keras.Sequential([keras.layers.Dense(3)]))
    assert not is_network("resnet50.pth")
