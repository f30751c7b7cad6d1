"""Backbones as presets of KerasHub, in folders and in the caches of hubs."""

import os
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, ResNetBackbone

FRAME = {"stackwise_num_blocks": (1, 1), "stackwise_num_filters": (16, 32)}
PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}
IMAGES = np.random.default_rng(0).standard_normal((2, 32, 40, 3))
IMAGES = IMAGES.astype("float32")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub():
    return pytest.importorskip("keras_hub")


@pytest.fixture
def preset(hub, randomize, tmp_path):
    """A folder, and the backbone that it holds."""
    backbone = randomize(EPSANetBackbone(**FRAME, **PYRAMID, freeze_stages=1))
    backbone.save_to_preset(str(tmp_path / "preset"))
    return tmp_path / "preset", backbone


def outputs(model, images=IMAGES):
    return keras.ops.convert_to_numpy(model(images))


def test_a_folder_holds_the_backbone(preset):
    folder, backbone = preset
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metadata.json",
        "model.weights.h5",
    }
    copy = EPSANetBackbone.from_preset(str(folder))
    assert type(copy) is EPSANetBackbone
    assert copy.get_config() == backbone.get_config()
    np.testing.assert_array_equal(outputs(copy), outputs(backbone))
    empty = EPSANetBackbone.from_preset(str(folder), load_weights=False)
    assert np.abs(outputs(empty) - outputs(backbone)).max() > 0.1


def test_arguments_replace_those_of_the_preset(preset):
    folder, backbone = preset
    copy = EPSANetBackbone.from_preset(
        str(folder), freeze_stages=2, norm_eval=True, name="frozen"
    )
    assert copy.name == "frozen" and not copy.trainable_weights
    assert copy.get_config()["norm_eval"]
    np.testing.assert_array_equal(outputs(copy), outputs(backbone))


@pytest.mark.parametrize("attention", [None, "eca"])
def test_a_resnet_with_any_attention_is_one_too(
    hub, randomize, attention, tmp_path
):
    backbone = randomize(ResNetBackbone(**FRAME, attention=attention))
    backbone.save_to_preset(str(tmp_path))
    copy = ResNetBackbone.from_preset(str(tmp_path))
    assert type(copy) is ResNetBackbone
    np.testing.assert_array_equal(outputs(copy), outputs(backbone))
    with pytest.raises(ValueError, match="ResNetBackbone.*EPSANetBackbone"):
        EPSANetBackbone.from_preset(str(tmp_path))


def test_channels_may_come_first(hub, randomize, tmp_path):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no such convolutions on CPUs")
    backbone = EPSANetBackbone(
        **FRAME, **PYRAMID, data_format="channels_first", dtype="float64"
    )
    randomize(backbone).save_to_preset(str(tmp_path))
    copy = EPSANetBackbone.from_preset(str(tmp_path), dtype="float64")
    images = IMAGES.transpose(0, 3, 1, 2).astype("float64")
    assert copy.data_format == "channels_first"
    np.testing.assert_array_equal(
        outputs(copy, images), outputs(backbone, images)
    )


def save_outputs(folder, backbone):
    np.savez(folder / "arrays.npz", images=IMAGES, outputs=outputs(backbone))


LOAD = """
import sys, numpy as np, keras_epsanet
assert "keras_hub" not in sys.modules
arrays = np.load("arrays.npz")
import keras, keras_hub
for make, arguments in (
    (keras_epsanet.EPSANetBackbone, {}),
    (keras_epsanet.ResNetBackbone, {}),
    (keras_hub.models.ImageClassifier, {"num_classes": 3}),
):
    model = make.from_preset(PRESET, **arguments)
    backbone = getattr(model, "backbone", model)
    assert type(backbone) is keras_epsanet.EPSANetBackbone
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(backbone(arrays["images"])),
        arrays["outputs"],
    )
print("loaded")
"""


def test_a_folder_loads_in_a_fresh_process(preset, run_python, tmp_path):
    folder, backbone = preset
    save_outputs(tmp_path, backbone)
    output = run_python(LOAD.replace("PRESET", repr(str(folder))))
    assert output.endswith("loaded\n")


def test_hugging_face_s_cache_loads_offline(preset, run_python, tmp_path):
    """In a fresh process, for its client reads the variables but once."""
    pytest.importorskip("huggingface_hub")
    folder, backbone = preset
    save_outputs(tmp_path, backbone)
    repository = tmp_path / "cache" / "models--somebody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    environment = {
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    output = run_python(
        LOAD.replace("PRESET", "'hf://somebody/tiny'"), **environment
    )
    assert output.endswith("loaded\n")


def test_kaggle_s_cache_loads_offline(preset, run_python, tmp_path):
    pytest.importorskip("kagglehub")
    folder, backbone = preset
    save_outputs(tmp_path, backbone)
    model = tmp_path / "cache/models/somebody/epsanet/keras/tiny"
    shutil.copytree(folder, model / "3")
    for file in os.listdir(folder):
        marker = model / ".complete" / "3" / f"{file}.complete"
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    # Whether there is a `task.json` Kaggle alone can say.
    code = LOAD.partition("    (keras_hub")[0] + LOAD.partition("3}),\n")[2]
    preset = "'kaggle://somebody/epsanet/keras/tiny/3'"
    output = run_python(
        code.replace("PRESET", preset), KAGGLEHUB_CACHE=str(tmp_path / "cache")
    )
    assert output.endswith("loaded\n")


def test_a_folder_without_preset_is_named(hub, tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        EPSANetBackbone.from_preset(str(tmp_path))
    with pytest.raises(ValueError, match="nowhere"):
        EPSANetBackbone.from_preset("nowhere")


def test_a_storage_is_refused(hub):
    backbone = ResNetBackbone((1,), (16,), expansion=2)
    with pytest.raises(ValueError, match="Received: preset_dir='gs://bucket/a"):
        backbone.save_to_preset("gs://bucket/a")


def test_without_kerashub_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    command = r"needs keras_hub: pip install keras-hub"
    with pytest.raises(ImportError, match=command):
        EPSANetBackbone.from_preset("anything")
    backbone = ResNetBackbone(**FRAME)
    with pytest.raises(ImportError, match=command):
        backbone.save_to_preset("anything")
    assert not pathlib.Path("anything").exists()


def test_without_the_client_of_a_hub_its_command_is_named(hub, monkeypatch):
    from keras_hub.src.utils import preset_utils

    for client in ("huggingface_hub", "kagglehub"):
        monkeypatch.setattr(preset_utils, client, None)
    for preset, client in (
        ("hf://somebody/tiny", "huggingface_hub"),
        ("kaggle://somebody/epsanet/keras/tiny", "kagglehub"),
    ):
        with pytest.raises(ImportError, match=f"pip install {client}"):
            EPSANetBackbone.from_preset(preset)
