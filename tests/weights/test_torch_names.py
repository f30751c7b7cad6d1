import pickle
import re
import sys

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet import (
    EPSANet,
    EPSANetBackbone,
    ResNet,
    load_torch_weights,
    save_torch_weights,
)
from keras_epsanet.weights.torch_files import read_checkpoint

torch = pytest.importorskip("torch")

VARIANTS = {
    "epsanet50_small": keras_epsanet.EPSANet50Small,
    "epsanet50_large": keras_epsanet.EPSANet50Large,
    "epsanet101_small": keras_epsanet.EPSANet101Small,
    "epsanet101_large": keras_epsanet.EPSANet101Large,
}
OTHERS = list(VARIANTS)[1:]
TINY = {
    "stackwise_num_blocks": (1, 2),
    "stackwise_num_filters": (24, 48),
    "kernel_sizes": (3, 5, 7),
    "groups": (1, 2, 4),
    "reduction": 4,
}


@pytest.fixture(scope="module")
def tiny():
    return EPSANet(**TINY, input_shape=(32, 32, 3), classes=5)


@pytest.fixture(scope="module")
def tiny_state(tiny, tmp_path_factory):
    return state_of(tiny, tmp_path_factory.mktemp("tiny") / "a.safetensors")


def state_of(model, path):
    save_torch_weights(model, path)
    return read_checkpoint(path)


@pytest.mark.parametrize(
    "variant",
    [
        "epsanet50_small",
        *(pytest.param(name, marks=pytest.mark.large) for name in OTHERS),
    ],
)
def test_to_pytorch_names_and_back_is_the_identity(
    variant, golden_state_dict, tmp_path
):
    state = golden_state_dict(variant)
    model = VARIANTS[variant](input_shape=(32, 32, 3))
    load_torch_weights(model, state)
    for name in ("model.safetensors", "model.pth"):
        written = state_of(model, tmp_path / name)
        assert written.keys() == state.keys()
        for key, array in state.items():
            assert written[key].dtype == array.dtype
            np.testing.assert_array_equal(written[key], array, err_msg=key)


def test_a_prefix_of_the_layers_does_not_matter(tiny, tiny_state, tmp_path):
    left = EPSANet(**TINY, classes=5, prefix="left_")
    load_torch_weights(left, tiny_state)
    for weight, expected in zip(left.get_weights(), tiny.get_weights()):
        np.testing.assert_array_equal(weight, expected)
    written = state_of(left, tmp_path / "left.safetensors")
    assert b'{"format":"pt"}' in (tmp_path / "left.safetensors").read_bytes()
    (tmp_path / "other").touch()  # Who may read this may read the weights.
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1
    assert written.keys() == tiny_state.keys()
    for key, array in tiny_state.items():
        np.testing.assert_array_equal(written[key], array, err_msg=key)


def test_two_networks_in_one_model_are_refused(tiny_state):
    image = keras.Input((32, 32, 3))
    both = [
        EPSANet(**TINY, input_tensor=image, classes=5, prefix=prefix).output
        for prefix in ("left_", "right_")
    ]
    model = keras.Model(image, both)
    with pytest.raises(ValueError, match="2 networks.*'left_', 'right_'"):
        load_torch_weights(model, tiny_state)


def test_scales_are_reversed_after_psa(tiny_state, tiny):
    bn = tiny.get_layer("conv2_block1_2_bn")
    np.testing.assert_array_equal(
        tiny_state["layer1.0.bn2.weight"].reshape(3, 8)[::-1].ravel(),
        bn.gamma.numpy(),
    )
    kernel = tiny.get_layer("conv2_block1_3_conv").kernel.numpy()[0, 0]
    weight = tiny_state["layer1.0.conv3.weight"][:, :, 0, 0]
    np.testing.assert_array_equal(weight[:, :8].T, kernel[16:])
    np.testing.assert_array_equal(weight[:, 16:].T, kernel[:8])


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pth.tar", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_form_of_a_checkpoint_loads(
    tiny, tiny_state, tmp_path, ending, prefix
):
    path = tmp_path / f"checkpoint{ending}"
    tensors = {
        prefix + key: torch.from_numpy(array)
        for key, array in tiny_state.items()
    }
    if ending == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, path)
    elif ending == ".pth.tar":
        # What the published training script saves.
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
        torch.save(
            {
                "epoch": 3,
                "arch": "epsanet50",
                "state_dict": tensors,
                "best_acc1": torch.tensor(77.5),
                "optimizer": optimizer.state_dict(),
            },
            path,
        )
    else:
        torch.save(tensors, path)
    model = EPSANet(**TINY, input_shape=(32, 32, 3), classes=5)
    load_torch_weights(model, path)
    for weight, expected in zip(model.get_weights(), tiny.get_weights()):
        np.testing.assert_array_equal(weight, expected)


def test_half_precision_tensors_and_float64_models(tiny_state):
    halves = {
        key: torch.tensor(array).to(torch.bfloat16)
        for key, array in tiny_state.items()
    }
    model = EPSANet(**TINY, input_shape=(32, 32, 3), classes=5, dtype="float64")
    load_torch_weights(model, halves)
    expected = halves["fc.weight"].float().numpy().T
    kernel = model.get_layer("predictions").kernel.numpy()
    assert kernel.dtype == "float64"
    np.testing.assert_array_equal(kernel, expected)


def test_a_backbone_ignores_the_classifier(tiny, tiny_state, tmp_path):
    backbone = EPSANetBackbone(**TINY)
    load_torch_weights(backbone, tiny_state)
    written = state_of(backbone, tmp_path / "backbone.safetensors")
    assert tiny_state.keys() - written.keys() == {"fc.weight", "fc.bias"}
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 3))
    last = tiny.get_layer("conv3_block2_out")
    features = keras.Model(tiny.input, last.output)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(backbone(x)),
        keras.ops.convert_to_numpy(features(x)),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("layer1.0.conv1.weight"), "missing: layer1.0.conv1"),
        (lambda s: s.update(extra=np.ones(3)), "unexpected: extra"),
        (
            lambda s: s.update({"bn1.weight": np.ones(65)}),
            r"of another shape: bn1.weight \(received \(65,\), expected \(64,",
        ),
        (
            lambda s: s.update({"fc.bias": np.ones(6)}),
            r"of another shape: fc.bias",
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(
    tiny, tiny_state, change, message
):
    before = tiny.get_weights()
    state = {key: array + 1 for key, array in tiny_state.items()}
    change(state)
    with pytest.raises(ValueError, match=f"left as it was.*{message}"):
        load_torch_weights(tiny, state)
    for weight, expected in zip(tiny.get_weights(), before):
        np.testing.assert_array_equal(weight, expected)


def test_a_pickle_that_would_run_code_is_refused(tiny, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": torch.ones(1), "x": Evil()}, path)
    with pytest.raises(ValueError, match="can run any code.*refused"):
        load_torch_weights(tiny, path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="evil.pth"):
        load_torch_weights(tiny, path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_damaged_files_are_refused_by_name(tiny, tmp_path, ending, damage):
    path = tmp_path / f"damaged{ending}"
    save_torch_weights(tiny, path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "foreign": b"\x89PNG\r\n\x1a\n" + bytes(200),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_torch_weights(tiny, path)


def test_missing_files_endings_and_contents_are_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="no file.*nothing.pth"):
        load_torch_weights(tiny, tmp_path / "nothing.pth")
    with pytest.raises(ValueError, match="must end in .pth.*model.bin"):
        save_torch_weights(tiny, tmp_path / "model.bin")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="dictionary of tensors.*list.pth"):
        load_torch_weights(tiny, tmp_path / "list.pth")


def test_models_that_are_no_epsanet_are_refused(tiny, tmp_path):
    nested = keras.Sequential([keras.Input((32, 32, 3)), tiny])
    with pytest.raises(ValueError, match="itself, not one that contains it"):
        load_torch_weights(nested, {})
    resnet = keras.applications.ResNet50(weights=None)
    with pytest.raises(ValueError, match="must be an EPSANet"):
        load_torch_weights(resnet, {})
    extra = keras.layers.Dense(3, name="extra")(tiny.output)
    extended = keras.Model(tiny.input, extra)
    with pytest.raises(ValueError, match="no names for .*extra/kernel"):
        save_torch_weights(extended, tmp_path / "extended.pth")
    # What does not train is a weight as well.
    extended.get_layer("extra").trainable = False
    with pytest.raises(ValueError, match="no names for .*extra/kernel"):
        save_torch_weights(extended, tmp_path / "extended.pth")


def test_every_convolution_of_a_stem_comes_back(tmp_path, randomize):
    def build():
        return ResNet((1,), (8,), stem_filters=(4, 8), input_shape=(32, 32, 3))

    model, copy = build(), build()
    randomize(model)
    save_torch_weights(model, tmp_path / "model.pth")
    load_torch_weights(copy, tmp_path / "model.pth")
    for one, other in zip(model.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_failing_write_keeps_the_old_file(tiny, tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    path.write_text("old")

    def fail(state, file):
        with open(file, "w") as stream:
            stream.write("half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_torch_weights(tiny, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize(
    "package, ending", [("torch", ".pth"), ("safetensors", ".safetensors")]
)
def test_a_missing_package_is_named(
    tiny, tmp_path, monkeypatch, package, ending
):
    path = tmp_path / f"model{ending}"
    save_torch_weights(tiny, path)
    for name in ("torch", "safetensors.numpy"):
        if name.startswith(package):
            monkeypatch.setitem(sys.modules, name, None)
    message = rf"needs {package}: pip install {package}"
    with pytest.raises(ImportError, match=message):
        load_torch_weights(tiny, path)
    with pytest.raises(ImportError, match=message):
        save_torch_weights(tiny, path)
