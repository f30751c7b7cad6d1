import argparse

import numpy as np
import pytest

from keras_epsanet.weights.resnet_torch import read_torch_resnet, rename_resnet

torch = pytest.importorskip("torch")

CONFIG = "model = dict(type='X', backbone=dict(depth=50, style='{style}'))\n"


@pytest.mark.parametrize(
    "key",
    [
        "neck.lateral_convs.0.conv.weight",
        "rpn_head.rpn_conv.weight",
        "roi_head.bbox_head.fc_cls.weight",
        "bbox_head.retina_cls.weight",
        "backbone.body.conv1.weight",
        "backbone.fpn.inner_blocks.0.0.weight",
        "backbone.bottom_up.stem.conv1.weight",
        "rpn.head.cls_logits.weight",
        "module.roi_heads.box_head.fc6.weight",
    ],
)
def test_a_detectors_file_is_refused(key, resnet_state):
    state = {f"backbone.{k}": x for k, x in resnet_state(classes=0).items()}
    assert rename_resnet(state, "it")
    state[key] = np.zeros(1)
    with pytest.raises(ValueError, match="detector's.*Received: it$"):
        rename_resnet(state, "it")


@pytest.mark.parametrize(
    "meta",
    [
        {"config": CONFIG},
        {"cfg": CONFIG, "epoch": 3},
        {"config": {"model": {"backbone": {"style": "{style}"}}}},
        {"config": {"models": [{"style": "{style}"}]}},
        {"env": {"config": 'dict(style = "{style}")' + " " * 60}},
    ],
)
def test_the_style_of_caffe_is_refused_by_the_configuration(meta, resnet_state):
    def fill(value):
        if isinstance(value, dict):
            return {key: fill(x) for key, x in value.items()}
        if isinstance(value, list):
            return [fill(x) for x in value]
        return str(value).replace("{style}", style)

    content = {"state_dict": resnet_state()}
    for style in ("pytorch", "caffe"):
        content["meta"] = fill(meta)
        if style == "pytorch":
            assert rename_resnet(content, "it")
            continue
        with pytest.raises(ValueError, match="Caffe.*configur.*Received: it$"):
            rename_resnet(content, "it")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("resnet50_caffe_fpn.pth", "style of Caffe.*file's name"),
        ("ResNet50_Caffe.pth", "style of Caffe.*file's name"),
        ("legacy_seresnet50-ce0d4300.pth", "timm's legacy"),
        ("resnetaa50_a1h-4cf422b3.pth", "timm's resnetaa"),
        ("resnetblur50-84f4748f.pth", "timm's resnetblur"),
        ("ResNetBlur50.pth", "timm's resnetblur"),
    ],
)
def test_names_of_files_tell_what_tensors_do_not(
    name, reason, resnet_state, tmp_path
):
    path = tmp_path / name
    state = {k: torch.from_numpy(x) for k, x in resnet_state().items()}
    torch.save(state, path)
    end = f"Received: source={path}$"
    with pytest.raises(ValueError, match=f"{reason}.*{end}"):
        read_torch_resnet(path)
    good = tmp_path / "resnet50-0676ba61.pth"
    path.rename(good)
    assert read_torch_resnet(good)


def test_names_of_folders_do_not_count(resnet_state, tmp_path):
    path = tmp_path / "caffe" / "resnet50.pth"
    path.parent.mkdir()
    state = {k: torch.from_numpy(x) for k, x in resnet_state().items()}
    torch.save(state, path)
    assert read_torch_resnet(path)


def test_a_published_file_of_mmpretrain(resnet_state, tmp_path):
    """As its publish_model.py writes it: PyTorch's old format, with `meta`."""
    state = {
        f"{'head' if k.startswith('fc.') else 'backbone'}.{k}": x
        for k, x in resnet_state().items()
    }
    content = {
        "meta": {"accuracy": np.float64(77.9), "epoch": 100, "cfg": CONFIG},
        "state_dict": {k: torch.from_numpy(x) for k, x in state.items()},
    }
    path = tmp_path / "resnext50_32x4d_b32x8_imagenet_20210429-56066e27.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    expected = {
        key: array
        for key, array in resnet_state().items()
        if not key.endswith("num_batches_tracked")
    }
    found = read_torch_resnet(path)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


def test_a_pickle_with_code_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (exec, ("open('executed', 'w')",))

    path = tmp_path / "resnet.pth"
    torch.save({"state_dict": {}, "meta": Code()}, path)
    with pytest.raises(ValueError, match="can run any code"):
        read_torch_resnet(path)


def test_an_averaged_model_is_preferred(resnet_state, tmp_path):
    """Checkpoints as torchvision's, timm's and MMPretrain's scripts save."""
    averaged = {k: torch.from_numpy(x) for k, x in resnet_state().items()}
    raw = {key: torch.zeros_like(x) for key, x in averaged.items()}
    counted = {f"module.{key}": x for key, x in averaged.items()}
    counted["n_averaged"] = torch.tensor(9)
    args = argparse.Namespace(model="resnext50_32x4d", model_ema=True)
    swapped = {
        "state_dict": {f"backbone.{k}": x for k, x in averaged.items()},
        "ema_state_dict": {f"module.backbone.{k}": x for k, x in raw.items()},
    }
    swapped["ema_state_dict"]["steps"] = torch.tensor(9)
    contents = {
        "torchvision": {"model": raw, "model_ema": counted, "args": args},
        "timm": {"state_dict": raw, "state_dict_ema": averaged, "args": args},
        "mmengine": {**swapped, "meta": {"epoch": 9}},
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pth")
        found = read_torch_resnet(tmp_path / f"{name}.pth")
        assert "n_averaged" not in found
        for key, array in found.items():
            np.testing.assert_array_equal(array, averaged[key], name)


def test_averages_beside_the_weights_are_dropped(resnet_state):
    # MMCV 1 keeps the weights that train under these names; those under the
    # usual names are the averaged ones.
    state = {f"backbone.{k}": x for k, x in resnet_state().items()}
    other = {f"ema_{k.replace('.', '_')}": 0 * x for k, x in state.items()}
    found = rename_resnet({"state_dict": {**state, **other}}, "it")
    assert found.keys() == rename_resnet(state, "it").keys()
