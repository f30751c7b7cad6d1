"""EPSANet Large and the ResNeXt of PyTorch that it starts from, whole."""

import copy

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet50Large, EPSANet101Large, inherit_weights
from keras_epsanet.weights.public_files import DEFAULTS

torch = pytest.importorskip("torch")

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
LARGE = {50: EPSANet50Large, 101: EPSANet101Large}
RESNEXT = {"filters": (128, 256, 512, 1024), "groups": 32, "expansion": 2}
SIZES = {"input_shape": (64, 64, 3), "classifier_activation": None}
OLD_FORMAT = {"_use_new_zipfile_serialization": False}


def make_resnext(depth, torch_resnet):
    """ResNeXt of random numbers with which values neither grow nor vanish.

    As in a trained network, a block adds little to its shortcut. Otherwise
    round-off grows from block to block: at depth 101 float32 differs from
    float64 by 1e-4 of the largest logit then, in PyTorch alone.
    """
    network = torch_resnet(BLOCKS[depth], **RESNEXT)
    norms = []
    for name, norm in network.named_modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            limits = (0.1, 0.3) if name.endswith("bn3") else (0.5, 1.5)
            torch.nn.init.uniform_(norm.weight, *limits)
            torch.nn.init.normal_(norm.bias, 0, 0.3)
            norm.momentum = None  # A mean over the passes.
            norms.append(norm)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 64, 64))
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()


@pytest.fixture(scope="module")
def resnext(torch_resnet):
    """Function from a depth to the ResNeXt of this depth."""
    made = {}

    def get(depth):
        if depth not in made:
            made.clear()
            made[depth] = make_resnext(depth, torch_resnet)
        return made[depth]

    return get


def make_images(count, size=64):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, size, size, 3)).astype("float32")


def to_torch(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def assert_same_logits(model, network, record_property):
    images = make_images(4)
    with torch.no_grad():
        expected = network(to_torch(images)).numpy()
    found = model.predict(images, verbose=0)
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    record_property("largest relative difference of logits", float(difference))
    assert difference < 1e-5 and expected.std() > 0.1


def without_counters(network):
    state = network.state_dict()
    return {k: x for k, x in state.items() if "num_batches" not in k}


def of_mmpretrain(network):
    state = network.state_dict()
    names = {
        k: ("head." if k.startswith("fc.") else "backbone.") + k for k in state
    }
    return {
        "meta": {"mmcls_version": "0.12.0", "epoch": 100},
        "state_dict": {names[key]: x for key, x in state.items()},
    }


# The names of their files, what is in these, and in which format.
KINDS = {
    "tv": (without_counters, OLD_FORMAT),
    "tv2": (torch.nn.Module.state_dict, {}),
    "a1h": (torch.nn.Module.state_dict, {}),
    "gluon": (without_counters, OLD_FORMAT),
    "fb_swsl": (
        lambda network: {
            f"module.{key}": x for key, x in network.state_dict().items()
        },
        OLD_FORMAT,
    ),
    "mmpretrain": (of_mmpretrain, OLD_FORMAT),
}


def publish(publisher, name, network):
    kind, format = KINDS[name.partition(".")[2]]
    return publisher.publish(name, kind(network), **format)


@pytest.mark.parametrize(
    "depth", [50, pytest.param(101, marks=pytest.mark.large)]
)
def test_large_starts_as_resnext(
    depth, resnext, publisher, capsys, record_property
):
    network = resnext(depth)
    default = DEFAULTS[f"resnext{depth}_32x4d"]
    publish(publisher, default, network)
    model = LARGE[depth](weights="resnext", **SIZES)
    text = capsys.readouterr().out
    assert ("torchvision" if depth == 50 else "GluonCV") in text
    assert f"Initialized from ResNeXt-{depth} 32x4d" in text
    assert_same_logits(model, network, record_property)
    assert_every_number_is_used(model, network)

    # The second time the converted file serves.
    publisher.asked.clear()
    again = LARGE[depth](weights="resnext", classes=10, **SIZES)
    text = capsys.readouterr().out
    assert not publisher.asked and "License" not in text
    assert "1 left as they were (predictions)" in text
    for layer, other in zip(again.layers[:-1], model.layers[:-1], strict=True):
        if not layer.name.endswith("_psa"):
            for found, expected in zip(layer.weights, other.weights):
                np.testing.assert_array_equal(found, expected)


def assert_every_number_is_used(model, network):
    """That each number of the source is one of the target, and no other is.

    But for those of `fc1`, which change nothing, and zeros.
    """
    found = []
    for weight in model.weights:
        if "/fc1/" in weight.path:
            continue
        array = keras.ops.convert_to_numpy(weight)
        found.append(array.ravel() / (4 if "/conv_" in weight.path else 1))
    found = np.concatenate(found)
    expected = np.concatenate(
        [x.numpy().ravel() for x in without_counters(network).values()]
    )
    # The zeros are those around the kernels, and fc2.
    zeros = found.size - expected.size
    found, expected = (np.sort(x[x != 0]) for x in (found, expected))
    np.testing.assert_array_equal(found, expected)
    assert zeros == sum(
        keras.ops.size(weight) - 9 * np.prod(weight.shape[2:])
        if "/conv_" in weight.path
        else keras.ops.size(weight)
        for weight in model.weights
        if "/conv_" in weight.path or "/fc2/" in weight.path
    )


@pytest.mark.large
@pytest.mark.parametrize(
    "name",
    [
        f"resnext{depth}_32x4d.{kind}"
        for depth, kinds in (
            (50, ("tv", "tv2", "a1h", "gluon", "fb_swsl", "mmpretrain")),
            (101, ("gluon", "fb_swsl", "mmpretrain")),
        )
        for kind in kinds
    ],
)
def test_every_publishers_file_computes_the_same(
    name, resnext, publisher, record_property
):
    depth = 50 if "50" in name else 101
    path = publish(publisher, name, resnext(depth))
    model = LARGE[depth](**SIZES)
    inherited = inherit_weights(model, name, verbose=False)
    assert not inherited.left and not inherited.partly
    assert_same_logits(model, resnext(depth), record_property)
    # By its path, too.
    other = LARGE[depth](**SIZES)
    inherit_weights(other, path, verbose=False)
    for layer, same in zip(other.layers, model.layers, strict=True):
        if not layer.name.endswith("_psa"):
            for found, expected in zip(layer.weights, same.weights):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.large
def test_timms_safetensors_computes_the_same(
    resnext, tmp_path, record_property
):
    save_file = pytest.importorskip("safetensors.torch").save_file
    network = resnext(50)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    model = EPSANet50Large(**SIZES)
    inherit_weights(model, tmp_path / "model.safetensors", verbose=False)
    assert_same_logits(model, network, record_property)


def test_the_reference_is_torchvisions(torch_resnet, resnet_shapes):
    network = torch_resnet(BLOCKS[50], **RESNEXT)
    shapes = {k: list(x.shape) for k, x in network.state_dict().items()}
    assert shapes == resnet_shapes["resnext50_32x4d"]
    torchvision = pytest.importorskip("torchvision")
    other = torchvision.models.resnext50_32x4d().eval()
    other.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), other(images))


@pytest.fixture(scope="module", params=[50, 101])
def trained(request, resnext):
    """A step of training of ResNeXt and of the EPSANet that starts from it.

    Returns the model, its weights before, the two losses, and what PyTorch's
    batch normalizations saw.
    """
    depth = request.param
    network = copy.deepcopy(resnext(depth))
    # The last feature map has 4×4 pixels, so that kernels of 7×7 see some.
    model = LARGE[depth](**{**SIZES, "input_shape": (128, 128, 3)})
    inherit_weights(model, network.state_dict(), verbose=False)
    for layer in model.layers:
        if layer.name.endswith("_psa"):
            # Both of its units may start with 0 for every image.
            fc1 = layer.se.fc1
            fc1.bias.assign(keras.ops.ones(fc1.bias.shape))
            fc1.kernel.assign(keras.ops.zeros(fc1.kernel.shape))
    before = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    images, labels = make_images(4, 128), np.arange(4) * 100
    seen = {}

    def note(name):
        def hook(module, inputs):
            (x,) = inputs
            seen[name] = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(note(name))
    state = {k: x.clone() for k, x in network.state_dict().items()}
    network.train()
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(
            network(to_torch(images)), torch.from_numpy(labels)
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    losses = model.train_on_batch(images, labels), expected.item()
    statistics = {
        name: [
            (0.9 * state[f"{name}.running_{kind}"] + 0.1 * value).numpy()
            for kind, value in zip(("mean", "var"), values)
        ]
        for name, values in seen.items()
    }
    return model, before, losses, statistics


def keras_name(name):
    """The name of a batch normalization in Keras."""
    if name == "bn1":
        return "conv1_bn"
    stage, block, norm = name.removeprefix("layer").split(".", 2)
    place = norm.removeprefix("bn") if norm.startswith("bn") else 0
    return f"conv{int(stage) + 1}_block{int(block) + 1}_{place}_bn"


@pytest.mark.large
def test_the_first_step_has_the_loss_and_statistics_of_resnext(
    trained, record_property
):
    model, _, (found, expected), statistics = trained
    assert found == pytest.approx(expected, rel=1e-5)
    names = [x.name for x in model.layers if x.name.endswith("_bn")]
    assert sorted(map(keras_name, statistics)) == sorted(names)
    worst = 0.0
    for name, arrays in statistics.items():
        layer = model.get_layer(keras_name(name))
        order = slice(None)
        if name.endswith("bn2"):
            # Output t of a quarter of a group of 4q is that of one branch.
            order = np.arange(len(arrays[0])).reshape(32, 4, -1)
            order = order.transpose(1, 0, 2).reshape(-1)
        for array, variable in zip(
            arrays, (layer.moving_mean, layer.moving_variance)
        ):
            found = keras.ops.convert_to_numpy(variable)
            difference = np.abs(found - array[order]).max()
            worst = max(worst, difference / np.abs(array).max())
    record_property("largest relative difference of statistics", float(worst))
    assert worst < 1e-5


@pytest.mark.large
def test_the_first_step_reaches_the_rims_and_fc2(trained):
    model, before, *_ = trained
    modules = [x for x in model.layers if x.name.endswith("_psa")]
    assert len(modules) in (16, 33)
    for psa in modules:
        for branch in psa.spc.convolutions[1:]:
            rim = keras.ops.convert_to_numpy(branch.kernel)[0]
            assert not before[branch.kernel.path][0].any()
            assert (rim != 0).mean() > 0.5
        kernel = psa.se.fc2.kernel
        assert not before[kernel.path].any()
        assert keras.ops.convert_to_numpy(kernel).any()
