import keras
import numpy as np
import pytest
from small_detectors import make_backbone

from keras_epsanet.detection import FasterRCNN, RetinaNet
from keras_epsanet.detection.settings import (
    Setting,
    box_format,
    check_class_names,
    from_zero,
    integer_from,
    share,
    two_sides,
)

TENSORFLOW = keras.backend.backend() == "tensorflow"


class Scaled(keras.Model):
    """Multiplies by a number that may be changed."""

    factor = Setting(share)

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


def make_detector(cls=RetinaNet, **options):
    return cls(make_backbone(), **{"num_classes": 3, **options})


@pytest.mark.parametrize("method", ["predict", "evaluate"])
def test_a_change_reaches_what_was_traced_before(method):
    model = Scaled(0.25)
    model.compile(loss="mae")
    x, arguments = np.ones((2, 1)), []
    if method == "evaluate":
        arguments = [np.zeros((2, 1))]
    for factor in (0.25, 0.75, 0.5):
        model.factor = factor
        result = getattr(model, method)(x, *arguments, verbose=0)
        np.testing.assert_allclose(np.max(result), factor)


def test_a_refused_change_leaves_the_former_value():
    model = Scaled(0.25)
    with pytest.raises(ValueError, match="from 0 to 1. Received: factor=2"):
        model.factor = 2
    assert model.factor == 0.25


@pytest.mark.parametrize(
    "cls, names",
    [
        (
            RetinaNet,
            "confidence_threshold iou_threshold max_detections "
            "bounding_box_format image_size focal_alpha focal_gamma",
        ),
        (FasterRCNN, "num_samples sampling_ratio max_detections"),
    ],
)
def test_these_may_be_changed_of_a_detector(cls, names):
    for name in names.split():
        assert isinstance(getattr(cls, name), Setting), name


@pytest.mark.parametrize("value", [np.int64(4), np.uint8(4), 4])
def test_integers_of_any_kind_are_kept_as_python_s(value):
    model = make_detector(num_classes=value, max_detections=value)
    for kept in (model.num_classes, model.max_detections):
        assert kept == 4 and type(kept) is int
    samples = make_detector(FasterRCNN, num_samples=value).num_samples
    assert samples == 4 and type(samples) is int


@pytest.mark.parametrize("value", [True, 2.0, "2", None, 0])
def test_what_is_no_positive_integer_is_refused(value):
    with pytest.raises(ValueError, match=f"from 1 up. Received: n={value}"):
        integer_from(1)("n", value)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_what_is_no_number_from_zero_is_refused(value):
    with pytest.raises(ValueError, match=f"from 0 up. Received: g={value}"):
        from_zero("g", value)


def test_a_limit_itself_is_allowed():
    assert integer_from(1)("n", 1) == 1
    assert from_zero("g", 0) == 0 and from_zero("g", 5) == 5
    assert share("s", 0) == 0 and share("s", 1) == 1


def test_an_unknown_format_of_boxes_is_refused():
    assert box_format("b", "xywh") == "xywh"
    with pytest.raises(ValueError, match="Received: b=corners"):
        box_format("b", "corners")


@pytest.mark.parametrize("value", [(800, 1333), [640, 640], np.array([1, 2])])
def test_two_sides_are_kept_as_a_pair_of_integers(value):
    kept = two_sides("s", value)
    assert kept == tuple(value) and {type(side) for side in kept} == {int}


@pytest.mark.parametrize(
    "value", [800, (800,), (800, 640), (0, 8), (8.0, 9), (1, 2, 3), None]
)
def test_what_is_no_shorter_and_longer_side_is_refused(value):
    with pytest.raises(ValueError, match="Received: s="):
        two_sides("s", value)


def test_every_class_has_a_name_or_none_has():
    assert check_class_names(None, 2) is None
    assert check_class_names(["hat", "bag"], 2) == ("hat", "bag")
    for names in (["hat"], "ab", ["hat", 1], ["hat", "hat"]):
        with pytest.raises(ValueError, match="2 different.*class_names="):
            check_class_names(names, 2)


@pytest.mark.parametrize("cls", [RetinaNet, FasterRCNN])
def test_xla_compiles_no_detector_of_tensorflow(cls):
    model = make_detector(cls)
    model.compile("sgd")
    assert model.supports_jit is not TENSORFLOW
    assert not (TENSORFLOW and model.jit_compile)
    # What another backend has saved is decided anew.
    config = {**model.get_compile_config(), "jit_compile": True}
    model.compile_from_config(config)
    assert not (TENSORFLOW and model.jit_compile)
