import collections
import pathlib
import sys
import types

import numpy as np
import pytest

from keras_epsanet.detection.mmdet_files import read_mmdet

STATE = {"neck.fpn_convs.0.conv.bias": np.arange(3, dtype="float32")}
# Of MMDetection 2 and of 3, as their tools print configurations.
TEXT = "backbone=dict(type='ResNet', depth=50, style='{}'),"
NAMES = ("hat", "bag")


def write(path, content, **options):
    torch = pytest.importorskip("torch")
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_published_file(is_zip, tmp_path):
    torch = pytest.importorskip("torch")
    meta = {
        "env_info": "sys.platform: linux",
        "config": "img_norm_cfg = dict(to_rgb=True)\n" + TEXT.format("pytorch"),
        "mmdet_version": "2.3.0",
        "CLASSES": NAMES,
        "epoch": 12,
        "hook_msgs": {"best_score": np.float64(0.38), "at": np.int64(12)},
    }
    state = collections.OrderedDict(
        (key, torch.tensor(array)) for key, array in STATE.items()
    )
    path = write(
        tmp_path / "retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth",
        {"meta": meta, "state_dict": state},
        _use_new_zipfile_serialization=is_zip,
    )
    found = read_mmdet(path)
    assert found.class_names == NAMES and found.name == str(path)
    for key, array in STATE.items():
        np.testing.assert_array_equal(found.state[key], array)


@pytest.mark.parametrize(
    "meta, names",
    [
        ({"CLASSES": list(NAMES)}, NAMES),
        ({"dataset_meta": {"classes": NAMES, "palette": [(1, 2, 3)]}}, NAMES),
        ({"dataset_meta": {"CLASSES": NAMES}}, NAMES),
        ({"CLASSES": "hat"}, ("hat",)),
        ({"CLASSES": None, "dataset_meta": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_class_names_of_all_versions(meta, names):
    found = read_mmdet({"meta": meta, "state_dict": STATE})
    assert found.class_names == names


def test_prefixes_and_averages():
    """MMCV saves what is evaluated under the names of the model."""
    key = next(iter(STATE))
    state = {f"module.{key}": STATE[key]}
    state[f"ema_{key.replace('.', '_')}"] = 2 * STATE[key]
    assert list(read_mmdet(state).state) == [key]
    # MMEngine has the same in its "state_dict".
    both = {"state_dict": STATE, "ema_state_dict": {f"module.{key}": "x"}}
    np.testing.assert_array_equal(read_mmdet(both).state[key], STATE[key])


@pytest.mark.parametrize(
    "meta",
    [
        {"config": TEXT.format("caffe")},
        {"cfg": TEXT.format("caffe").replace("'", '"')},
        {"cfg": '{"backbone": {"depth": 50, "style": "caffe"}}'},
    ],
)
def test_the_style_of_caffe_is_refused(meta):
    content = {"meta": meta, "state_dict": STATE}
    with pytest.raises(ValueError, match="Caffe.*stride.*Received: the state"):
        read_mmdet(content)


def test_the_style_of_caffe_may_be_in_the_name_alone(tmp_path):
    path = tmp_path / "mask_rcnn_r50_caffe_fpn_1x_coco.pth"
    write(path, {"state_dict": {}})
    with pytest.raises(ValueError, match=f"Caffe.*Received: {path}"):
        read_mmdet(path)
    folder = tmp_path / "caffe"  # Which says nothing.
    folder.mkdir()
    assert read_mmdet(write(folder / "mask_rcnn.pth", {})).state == {}


@pytest.mark.parametrize(
    "content",
    [
        {"meta": {"config": "dict(std=[1, 1, 1], to_rgb=False)"}},
        {"meta": {"cfg": "data_preprocessor=dict(bgr_to_rgb=False)"}},
        {"data_preprocessor.mean": np.array([103.53, 116.28, 123.675])},
        {"data_preprocessor.std": np.ones((3, 1, 1))},
    ],
)
def test_images_of_another_kind_are_refused(content):
    if "meta" in content:
        content = {**content, "state_dict": STATE}
    with pytest.raises(ValueError, match="normalized in another way.*Received"):
        read_mmdet(content)


def test_our_means_are_no_weights():
    means = {
        "data_preprocessor.mean": np.array([123.675, 116.28, 103.53]),
        "data_preprocessor.std": np.array([[[58.395]], [[57.12]], [[57.375]]]),
    }
    assert read_mmdet({**STATE, **means}).state.keys() == STATE.keys()


@pytest.mark.parametrize(
    "content, reason",
    [
        (
            {"meta": {"mmdet_version": "1.2.0"}, "state_dict": STATE},
            "MMDetection 1.*upgrade_model_version.py",
        ),
        ({"bbox_head.fc_cls.weight": np.ones(3)}, "MMDetection 1"),
        ({"mask_head.conv_logits.bias": np.ones(3)}, "MMDetection 1"),
        ({"backbone.body.conv1.weight": np.ones(3)}, "torchvision's"),
    ],
)
def test_files_of_others_are_refused(content, reason):
    with pytest.raises(ValueError, match=f"{reason}.*Received: the state"):
        read_mmdet(content)


class HistoryBuffer:
    """As MMEngine's in what its pickle names, a method of it included."""

    def __init__(self):
        self._log_history = np.array([1.0, 2.0])
        self._methods = {"mean": HistoryBuffer.mean}

    def mean(self):
        pathlib.Path("executed").touch()

    def __setstate__(self, state):
        pathlib.Path("executed").touch()


@pytest.mark.parametrize("is_zip", [True, False])
def test_the_log_of_one_s_own_training_is_passed_over(
    is_zip, tmp_path, monkeypatch
):
    """Without MMEngine, and with one whose code must not run."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    name = "mmengine.logging.history_buffer"
    module = types.ModuleType(name)
    module.HistoryBuffer = HistoryBuffer
    for x in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, x, types.ModuleType(x))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(HistoryBuffer, "__module__", name)
    state = {key: torch.tensor(array) for key, array in STATE.items()}
    content = {
        "meta": {"cfg": TEXT.format("pytorch"), "dataset_meta": {}},
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}},
        "state_dict": state,
    }
    path = write("own.pth", content, _use_new_zipfile_serialization=is_zip)
    for is_there in (True, False):
        if not is_there:
            monkeypatch.delitem(sys.modules, name)
        assert read_mmdet(path).state.keys() == STATE.keys()
    assert not pathlib.Path("executed").exists()


@pytest.mark.parametrize("value", [np.ones(2), getattr])
def test_what_only_a_log_may_hold_is_refused_elsewhere(value, tmp_path):
    content = {"meta": {"inner": [value]}, "state_dict": {}}
    path = write(tmp_path / "model.pth", content)
    with pytest.raises(ValueError, match="can run any code"):
        read_mmdet(path)
