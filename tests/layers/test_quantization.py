"""Quantized networks, and those with LoRA, are read by another process."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.models.epsanet import EPSANet

# What has nothing to quantize says so in Keras.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer .* does not have a `quantize`"
)
CHANGES = ["int8", "int4", "float8", "LoRA"]
if keras.backend.backend() == "jax":
    del CHANGES[1:]  # XLA compiles every operation of every network.


def make_network():
    return EPSANet(
        (1,),
        (16,),
        kernel_sizes=(3, 3),
        groups=(1, 2),
        reduction=2,
        expansion=1,
        input_shape=(32, 32, 3),
        classes=3,
        name="network",
    )


def change_network(model, change):
    if change != "LoRA":
        model.quantize(change)
        return
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(ops.ones(layer.lora_kernel_b.shape))


@pytest.fixture(scope="module")
def images():
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
    return x.astype("float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images):
    """Folder with the files of networks and with what they predict."""
    folder = tmp_path_factory.mktemp("networks")
    np.save(folder / "images.npy", images)
    for change in CHANGES:
        model = make_network()
        change_network(model, change)
        model.save(folder / f"{change}.keras")
        model.save_weights(folder / f"{change}.weights.h5")
        y = ops.convert_to_numpy(model(images))
        np.save(folder / f"{change}.npy", y)
    return folder


def test_another_process_predicts_the_same(folder, run_python):
    output = run_python(
        f"""
import json, keras, keras_epsanet, numpy as np

def difference(change):
    path = {str(folder)!r} + "/" + change
    model = keras.saving.load_model(path + ".keras")
    y = keras.ops.convert_to_numpy(model(np.load({str(folder)!r} +
        "/images.npy")))
    return float(np.abs(y - np.load(path + ".npy")).max())

print(json.dumps({{change: difference(change) for change in {CHANGES}}}))
"""
    )
    differences = json.loads(output.splitlines()[-1])
    assert all(x < 1e-6 for x in differences.values()), differences


@pytest.mark.parametrize("change", CHANGES)
def test_weights_load_into_a_network_changed_alike(folder, images, change):
    model = make_network()
    change_network(model, change)
    model.load_weights(folder / f"{change}.weights.h5")
    y = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(y, np.load(folder / f"{change}.npy"), atol=1e-6)


def test_quantized_networks_quantize_the_dense_layers_only(folder):
    model = keras.saving.load_model(folder / "int8.keras")
    quantized = [
        layer.path.removeprefix("network/")
        for layer in model._flatten_layers()
        if getattr(layer, "quantization_mode", None)
    ]
    assert sorted(quantized) == [
        "conv2_block1_psa/se/fc1",
        "conv2_block1_psa/se/fc2",
        "predictions",
    ]
