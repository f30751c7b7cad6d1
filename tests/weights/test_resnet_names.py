import re

import keras
import numpy as np
import pytest

from keras_epsanet.models import EPSANet, EPSANet50Small
from keras_epsanet.weights import save_torch_weights
from keras_epsanet.weights.resnet_names import ResNetWeights, read_resnet


def zeros(shapes):
    return {key: np.zeros(shape, "float32") for key, shape in shapes.items()}


@pytest.mark.parametrize(
    "source, name, description",
    [
        (
            "resnext50_32x4d",
            "ResNeXt-50 32x4d",
            ((3, 4, 6, 3), (128, 256, 512, 1024), 32, 2, 1000),
        ),
        (
            "resnext101_32x4d",
            "ResNeXt-101 32x4d",
            ((3, 4, 23, 3), (128, 256, 512, 1024), 32, 2, 1000),
        ),
        (
            "resnet50",
            "ResNet-50",
            ((3, 4, 6, 3), (64, 128, 256, 512), 1, 4, 1000),
        ),
    ],
)
def test_public_state_dicts_are_described(
    source, name, description, resnet_shapes
):
    shapes = resnet_shapes[source]
    weights = read_resnet(zeros(shapes))
    assert tuple(weights[1:]) == description and weights.name == name
    assert weights.state.keys() == {
        key for key in shapes if "num_batches_tracked" not in key
    }


@pytest.mark.parametrize(
    "groups, expansion, width, name",
    [
        (1, 4, 64, "ResNet-50"),
        (1, 4, 16, "ResNet-50 of width 16"),
        (1, 2, 128, "Wide ResNet-50-2"),
        (32, 1, 256, "ResNeXt-50 32x8d"),
        (4, 2, 16, "ResNeXt-50 4x4d"),
    ],
)
def test_names(groups, expansion, width, name):
    weights = ResNetWeights({}, (3, 4, 6, 3), (width,), groups, expansion, 2)
    assert weights.name == name


def test_every_array_is_kept_as_it_is(resnet_state):
    state = resnet_state()
    weights = read_resnet(state)
    assert tuple(weights[1:]) == ((2, 1), (16, 32), 4, 2, 10)
    assert len(weights.state) == sum("num_batches" not in key for key in state)
    for key, array in weights.state.items():
        np.testing.assert_array_equal(array, state[key])


@pytest.mark.parametrize("wrap", ["module", "mmpretrain", "state_dict"])
def test_other_names_of_the_same(wrap, resnet_state):
    expected = read_resnet(resnet_state()).state
    state = {
        "module": {f"module.{k}": x for k, x in expected.items()},
        "state_dict": {"state_dict": expected, "epoch": 3},
        "mmpretrain": {
            "meta": {"mmcls_version": "0.12.0", "CLASSES": ["tench"] * 10},
            "state_dict": {
                f"{'head' if k.startswith('fc.') else 'backbone'}.{k}": x
                for k, x in expected.items()
            },
        },
    }[wrap]
    assert read_resnet(state).state.keys() == expected.keys()
    assert read_resnet(state).classes == 10


def test_stages_without_shortcut_and_without_classifier(resnet_state):
    state = resnet_state(filters=(16, 32), expansion=4, classes=None)
    assert "layer1.0.downsample.0.weight" not in state
    weights = read_resnet(state)
    assert weights.expansion == 4 and weights.classes is None


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pth.tar", ".safetensors"])
def test_files_of_pytorch(ending, resnet_state, tmp_path):
    torch = pytest.importorskip("torch")
    state = resnet_state()
    path = tmp_path / f"resnext-1a0047aa{ending}"
    if ending == ".safetensors":
        save = pytest.importorskip("safetensors.numpy").save_file
        save(state, path)
    else:
        torch.save({k: torch.from_numpy(x) for k, x in state.items()}, path)
    for source in (path, str(path)):
        found = read_resnet(source).state
        assert len(found) == len(read_resnet(state).state)
        for key, array in found.items():
            np.testing.assert_array_equal(array, state[key])


def test_an_epsanet_of_one_scale_is_a_resnet_in_files_of_pytorch_too(tmp_path):
    model = EPSANet(
        (1, 1),
        (16, 32),
        (3,),
        (4,),
        input_shape=(32, 32, 3),
        classes=5,
    )
    path = tmp_path / "epsanet.safetensors"
    save_torch_weights(model, path)
    weights = read_resnet(path)
    assert tuple(weights[1:]) == ((1, 1), (16, 32), 4, 4, 5)
    expected = read_resnet(model).state
    assert weights.state.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(weights.state[key], array)


@pytest.mark.parametrize("kind", ["model", ".pth", ".weights.h5", ".keras"])
def test_an_epsanet_of_several_scales_is_not_a_resnet(kind, tmp_path):
    model = EPSANet((1,), (64,), (3, 5), (1, 4), input_shape=(32, 32, 3))
    source = model
    if kind != "model":
        source = tmp_path / f"epsanet{kind}"
        if kind == ".pth":
            pytest.importorskip("torch")
            save_torch_weights(model, source)
        elif kind == ".keras":
            model.save(source)
        else:
            model.save_weights(source)
    with pytest.raises(ValueError, match="`load_torch_weights`.*Received: "):
        read_resnet(source)


def change(key, to=None, value=None):
    """Function that renames, replaces or removes an entry."""

    def apply(state):
        array = state.pop(key)
        if to:
            state[to] = array if value is None else value

    return apply


BLOCK = "layer1.1"


@pytest.mark.parametrize(
    "apply, reason",
    [
        (change("bn1.bias"), "missing: bn1.bias"),
        (change(f"{BLOCK}.conv3.weight"), f"missing: {BLOCK}.conv3.weight"),
        (change("fc.bias"), "missing: fc.bias"),
        (
            change("conv1.weight", "conv1.0.weight"),
            "stem of several.*missing: conv1.weight; unexpected: conv1.0.w",
        ),
        (
            change("bn1.bias", f"{BLOCK}.se.fc1.bias"),
            "attention in its blocks.*missing: bn1.bias; unexpected: layer1",
        ),
        (
            change(
                "layer2.0.downsample.0.weight", "layer2.0.downsample.2.weight"
            ),
            "pooling in its shortcuts.*missing: layer2.0.downsample.0",
        ),
        (
            change("layer1.0.conv3.weight"),
            "basic blocks.*Entries found: conv1.weight, .* more",
        ),
        (
            change("conv1.weight", "layer0.conv1.weight"),
            "legacy.*first 1×1 convolution",
        ),
        (
            change(
                f"{BLOCK}.conv2.weight",
                f"{BLOCK}.conv2.weight",
                np.zeros((16, 16, 3, 3)),
            ),
            r"of another shape: layer1.1.conv2.weight \(received \(16, 16, 3",
        ),
        (
            change("conv1.weight", "conv1.weight", np.zeros((64, 3, 3, 3))),
            r"of another shape: conv1.weight .* expected \(64, 3, 7, 7\)",
        ),
        (
            change("conv1.weight", "conv1.weight", np.zeros(64)),
            r"of another shape: conv1.weight \(received \(64,\)",
        ),
    ],
)
def test_another_structure_is_refused_with_the_reason(
    apply, reason, resnet_state
):
    state = resnet_state()
    apply(state)
    with pytest.raises(ValueError, match=f"(?s){reason}.*Received: a dict"):
        read_resnet(state)


@pytest.mark.parametrize(
    "source", [None, 3, "resnet.pkl", "resnet", "imagenet", ["a.pth"]]
)
def test_what_is_no_source_is_refused(source):
    end = re.escape(f"Received: source={source}") + "$"
    with pytest.raises(ValueError, match=f"`source` must be a Keras.*{end}"):
        read_resnet(source)


@pytest.mark.parametrize("ending", [".pth", ".weights.h5", ".h5", ".keras"])
def test_missing_and_damaged_files_are_refused(ending, tmp_path):
    path = tmp_path / f"resnet{ending}"
    with pytest.raises(ValueError, match="There is no file"):
        read_resnet(path)
    path.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="is damaged"):
        read_resnet(path)


def test_a_keras_model_is_left_as_it_was():
    model = EPSANet50Small(input_shape=(32, 32, 3), classes=2)
    before = [x.copy() for x in model.get_weights()]
    with pytest.raises(ValueError, match="several scales"):
        read_resnet(model)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_a_model_without_a_resnet_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must be a ResNet.*Received: the"):
        read_resnet(model)
