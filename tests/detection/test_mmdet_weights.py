import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANetBackbone, save_torch_weights
from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    load_mmdet_weights,
)
from keras_epsanet.detection.mmdet_weights import detector_entries
from keras_epsanet.weights.torch_files import read_checkpoint

CLASSES = 3
# Channels of the backbone's levels.
LEVELS = (16, 16, 16, 16)


def make_backbone():
    return EPSANetBackbone(
        (1, 1, 1, 1),
        LEVELS,
        (3, 5, 7, 9),
        (1, 4, 4, 4),
        reduction=4,
        expansion=1,
    )


def convolutions(*layers):
    """Shapes of weights and biases by (name, outputs, inputs, size)."""
    shapes = {}
    for name, outputs, inputs, size in layers:
        shapes[f"{name}.weight"] = (outputs, inputs, size, size)
        shapes[f"{name}.bias"] = (outputs,)
    return shapes


def linear(*layers):
    return {
        key: shape[:2]
        for key, shape in convolutions(*((*x, 1) for x in layers)).items()
    }


def neck(levels, outputs):
    return convolutions(
        *((f"neck.lateral_convs.{i}.conv", 256, 16, 1) for i in range(levels)),
        *(
            (f"neck.fpn_convs.{i}.conv", 256, inputs, 3)
            for i, inputs in enumerate(outputs)
        ),
    )


# As in the state dicts of MMDetection 2 and 3.
RETINANET = {
    # P6 is made from the backbone.
    **neck(3, (256, 256, 256, 16, 256)),
    **convolutions(
        *(
            (f"bbox_head.{tower}_convs.{i}.conv", 256, 256, 3)
            for tower in ("cls", "reg")
            for i in range(4)
        ),
        ("bbox_head.retina_cls", 9 * CLASSES, 256, 3),
        ("bbox_head.retina_reg", 9 * 4, 256, 3),
    ),
}
FASTER_RCNN = {
    **neck(4, 4 * (256,)),
    **convolutions(
        ("rpn_head.rpn_conv", 256, 256, 3),
        ("rpn_head.rpn_cls", 3, 256, 1),
        ("rpn_head.rpn_reg", 12, 256, 1),
    ),
    **linear(
        ("roi_head.bbox_head.shared_fcs.0", 1024, 256 * 49),
        ("roi_head.bbox_head.shared_fcs.1", 1024, 1024),
        ("roi_head.bbox_head.fc_cls", CLASSES + 1, 1024),
        ("roi_head.bbox_head.fc_reg", 4 * CLASSES, 1024),
    ),
}
MASK_RCNN = {
    **FASTER_RCNN,
    **convolutions(
        *(
            (f"roi_head.mask_head.convs.{i}.conv", 256, 256, 3)
            for i in range(4)
        ),
        ("roi_head.mask_head.upsample", 256, 256, 2),
        ("roi_head.mask_head.conv_logits", CLASSES, 256, 1),
    ),
}
DETECTORS = [
    (RetinaNet, RETINANET),
    (FasterRCNN, FASTER_RCNN),
    (MaskRCNN, MASK_RCNN),
]


def make_state(shapes, tmp_path):
    """Random entries, those of the backbone as the authors name them."""
    random = np.random.default_rng(0)
    state = {
        name: random.normal(0, 0.02, shape).astype("float32")
        for name, shape in shapes.items()
    }
    path = str(tmp_path / "backbone.safetensors")
    save_torch_weights(make_backbone(), path)
    for name, array in read_checkpoint(path).items():
        state[f"backbone.{name}"] = array
    return state


@pytest.mark.parametrize("cls, shapes", DETECTORS)
def test_all_entries_are_loaded(cls, shapes, tmp_path):
    pytest.importorskip("safetensors")
    model = cls(make_backbone(), CLASSES)
    state = make_state(shapes, tmp_path)
    load_mmdet_weights(model, {"state_dict": state})
    entries = detector_entries(model)
    assert {id(e.variable) for e in entries} >= {
        id(weight) for weight in model.trainable_weights
    }
    for entry in entries:
        np.testing.assert_array_equal(entry.to_torch(), state[entry.key])


# Layers that have the shapes of others, which a load could exchange.
PLACES = {
    RetinaNet: {
        "fpn_lateral_P3": "neck.lateral_convs.0.conv",
        "fpn_lateral_P5": "neck.lateral_convs.2.conv",
        "fpn_output_P3": "neck.fpn_convs.0.conv",
        "fpn_output_P5": "neck.fpn_convs.2.conv",
        "fpn_output_P7": "neck.fpn_convs.4.conv",
        "classification_conv1": "bbox_head.cls_convs.0.conv",
        "classification_conv4": "bbox_head.cls_convs.3.conv",
        "box_conv1": "bbox_head.reg_convs.0.conv",
        "box_conv4": "bbox_head.reg_convs.3.conv",
    },
    MaskRCNN: {
        "fpn_lateral_P2": "neck.lateral_convs.0.conv",
        "fpn_lateral_P5": "neck.lateral_convs.3.conv",
        "fpn_output_P2": "neck.fpn_convs.0.conv",
        "fpn_output_P5": "neck.fpn_convs.3.conv",
        "rpn_conv": "rpn_head.rpn_conv",
        "mask_conv1": "roi_head.mask_head.convs.0.conv",
        "mask_conv4": "roi_head.mask_head.convs.3.conv",
    },
}


@pytest.mark.parametrize("cls, shapes", [DETECTORS[0], DETECTORS[2]])
def test_layers_of_equal_shapes_are_not_exchanged(cls, shapes, tmp_path):
    pytest.importorskip("safetensors")
    model = cls(make_backbone(), CLASSES)
    state = make_state(shapes, tmp_path)
    load_mmdet_weights(model, state)
    for name, theirs in PLACES[cls].items():
        kernel = ops.convert_to_numpy(model.get_layer(name).kernel)
        wanted = state[f"{theirs}.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, wanted, name)
        bias = ops.convert_to_numpy(model.get_layer(name).bias)
        np.testing.assert_array_equal(bias, state[f"{theirs}.bias"], name)


@pytest.mark.parametrize("change", ["missing", "unexpected", "another shape"])
def test_a_checkpoint_that_does_not_fit_changes_nothing(change, tmp_path):
    pytest.importorskip("safetensors")
    model = FasterRCNN(make_backbone(), CLASSES)
    before = [ops.convert_to_numpy(w) for w in model.weights]
    state = make_state(FASTER_RCNN, tmp_path)
    key = "rpn_head.rpn_cls.bias"
    if change == "unexpected":
        key = "roi_head.mask_head.conv_logits.bias"
    array = state.pop(key, np.zeros(CLASSES))
    if change != "missing":
        state[key] = array if change == "unexpected" else array[:2]
    with pytest.raises(ValueError, match=f"{change}.*{key}"):
        load_mmdet_weights(model, state)
    for old, weight in zip(before, model.weights):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(weight))


def test_heads_compute_what_pytorchs_do(tmp_path):
    """The order of the pixels in the first matrix, the transposed kernel."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    functional = torch.nn.functional
    model = MaskRCNN(make_backbone(), CLASSES)
    state = make_state(MASK_RCNN, tmp_path)
    load_mmdet_weights(model, state)

    def apply(function, name, x, **options):
        weight, bias = (
            torch.tensor(state[f"roi_head.{name}.{kind}"])
            for kind in ("weight", "bias")
        )
        return function(x, weight, bias, **options)

    x = np.random.default_rng(1).normal(size=(2, 7, 7, 256)).astype("float32")
    flat = torch.tensor(x.transpose(0, 3, 1, 2)).flatten(1)
    for i in range(2):
        flat = apply(functional.linear, f"bbox_head.shared_fcs.{i}", flat)
        flat = flat.relu()
    logits, deltas = map(ops.convert_to_numpy, model.box_head(x))
    wanted = apply(functional.linear, "bbox_head.fc_cls", flat).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-4)
    wanted = apply(functional.linear, "bbox_head.fc_reg", flat).numpy()
    np.testing.assert_allclose(deltas.reshape(2, -1), wanted, atol=1e-4)

    x = np.random.default_rng(1).normal(size=(2, 14, 14, 256))
    x = x.astype("float32")
    y = torch.tensor(x.transpose(0, 3, 1, 2))
    for i in range(4):
        name = f"mask_head.convs.{i}.conv"
        y = apply(functional.conv2d, name, y, padding=1).relu()
    y = apply(functional.conv_transpose2d, "mask_head.upsample", y, stride=2)
    y = apply(functional.conv2d, "mask_head.conv_logits", y.relu())
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.mask_head(x)),
        y.numpy().transpose(0, 2, 3, 1),
        atol=1e-4,
    )


def make_other_backbone():
    images = keras.Input((64, 64, 3))
    levels, x = {}, keras.layers.AveragePooling2D(2)(images)
    for level in (2, 3, 4, 5):
        x = keras.layers.AveragePooling2D(2)(x)
        levels[f"P{level}"] = x = keras.layers.Conv2D(16, 1)(x)
    backbone = keras.Model(images, x)
    backbone.pyramid_outputs = levels
    return backbone


def test_heads_are_loaded_alone_if_there_is_no_backbone_in_the_file():
    backbone = make_other_backbone()
    model = RetinaNet(backbone, CLASSES)
    random = np.random.default_rng(0)
    state = {k: random.normal(size=v) for k, v in RETINANET.items()}
    before = backbone.get_weights()
    load_mmdet_weights(model, state)
    for old, new in zip(before, backbone.get_weights()):
        np.testing.assert_array_equal(old, new)
    bias = model.get_layer("box_output").bias
    np.testing.assert_allclose(
        ops.convert_to_numpy(bias),
        state["bbox_head.retina_reg.bias"],
        rtol=1e-6,
    )


def test_a_backbone_whose_names_are_not_known_is_refused():
    model = RetinaNet(make_other_backbone(), CLASSES)
    before = model.get_weights()
    state = {k: np.ones(v, "float32") for k, v in RETINANET.items()}
    state["backbone.conv1.weight"] = np.ones(3)
    with pytest.raises(ValueError, match="without the entries backbone.*Rece"):
        load_mmdet_weights(model, state)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("cls, shapes", DETECTORS)
def test_another_number_of_classes_leaves_the_last_layers_out(
    cls, shapes, tmp_path
):
    pytest.importorskip("safetensors")
    state = make_state(shapes, tmp_path)
    model = cls(make_backbone(), CLASSES + 2)
    last = {
        "bbox_head.retina_cls",
        "roi_head.bbox_head.fc_cls",
        "roi_head.bbox_head.fc_reg",
        "roi_head.mask_head.conv_logits",
    }
    entries = detector_entries(model)
    kept = {
        entry.key: entry.to_torch()
        for entry in entries
        if entry.key.rpartition(".")[0] in last
    }
    meta = {"CLASSES": ["a", "b", "c"]}
    message = "for 3 classes, those of the detector for 5"
    with pytest.warns(UserWarning, match=message) as warnings:
        load_mmdet_weights(model, {"state_dict": state, "meta": meta})
    # The line of the user is named.
    assert [x.filename for x in warnings] == [__file__]
    assert model.class_names is None
    for entry in entries:
        wanted = kept.get(entry.key, state.get(entry.key))
        np.testing.assert_array_equal(entry.to_torch(), wanted)


def test_last_layers_that_contradict_each_other_are_refused(tmp_path):
    pytest.importorskip("safetensors")
    state = make_state(FASTER_RCNN, tmp_path)
    state["roi_head.bbox_head.fc_reg.bias"] = np.zeros(4)  # For all classes.
    state["roi_head.bbox_head.fc_reg.weight"] = np.zeros((4, 1024))
    model = FasterRCNN(make_backbone(), CLASSES + 2)
    with pytest.raises(ValueError, match="another shape: .*fc_reg.*fc_cls"):
        load_mmdet_weights(model, state)


@pytest.mark.parametrize("given", [None, ("x", "y", "z")])
def test_class_names_of_the_file_are_for_who_has_none(given, tmp_path):
    pytest.importorskip("safetensors")
    model = RetinaNet(make_backbone(), CLASSES, class_names=given)
    content = {
        "state_dict": make_state(RETINANET, tmp_path),
        "meta": {"CLASSES": ("a", "b", "c")},
    }
    load_mmdet_weights(model, content)
    assert model.class_names == (given or ("a", "b", "c"))
