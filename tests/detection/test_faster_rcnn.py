"""Faster and Mask R-CNN: sizes, samples of proposals, heads."""

import keras
import numpy as np
import pytest
from keras import ops
from small_detectors import make_batch, make_detector, make_resnet

from keras_epsanet import EPSANetBackbone, complexity
from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    faster_rcnn,
    region_proposal,
)
from keras_epsanet.detection.subsampler import random_keys

TWO_STAGE = (FasterRCNN, MaskRCNN)
TENSORFLOW = keras.backend.backend() == "tensorflow"


def make_backbone(name):
    if name != "resnet50":
        return EPSANetBackbone.from_variant(
            name, freeze_stages=1, norm_eval=True
        )
    return make_resnet()


# Tables 3 and 4, with stem and first stage frozen. The 271.10 of the paper is
# 271.1067 here, not rounded up, as its 219.64 is 219.6462; Mask R-CNN on
# ResNet-50 was counted in another way.
@pytest.mark.skipif(not TENSORFLOW, reason="the same on all backends")
@pytest.mark.parametrize(
    "cls, variant, parameters, gflops",
    [
        (FasterRCNN, "epsanet50_small", 38_561_624, 197.07),
        pytest.param(
            *(FasterRCNN, "epsanet50_large", 43_852_048, 219.64),
            marks=pytest.mark.large,
        ),
        (FasterRCNN, "resnet50", 41_527_712, 207.07),
        (MaskRCNN, "epsanet50_small", 41_204_904, 248.53),
        (MaskRCNN, "epsanet50_large", 46_495_328, 271.10),
        pytest.param(
            *(MaskRCNN, "resnet50", 44_170_992, None), marks=pytest.mark.large
        ),
    ],
)
def test_parameters_and_flops_of_table_3(cls, variant, parameters, gflops):
    model = cls(make_backbone(variant), 80)
    counted = sum(np.prod(w.shape) for w in model.trainable_weights)
    assert counted == parameters
    if gflops:
        flops = complexity(model, (800, 1280, 3), convention="table3").flops
        assert 0 <= flops / 1e9 - gflops + 0.005 < 0.012


def test_masks_are_needed():
    model = make_detector(MaskRCNN)
    model.compile("sgd")
    batch = make_batch()
    del batch["masks"]
    with pytest.raises(ValueError, match="Received: .*`boxes`, `labels`"):
        model.fit(batch, verbose=0)


@pytest.mark.parametrize("cls", TWO_STAGE)
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_samples": 3}, "num_samples=3"),
        ({"sampling_ratio": -1}, "sampling_ratio=-1"),
        ({"max_detections": 0}, "max_detections=0"),
        ({"iou_threshold": 1.5}, "iou_threshold=1.5"),
        ({"confidence_threshold": -1}, "confidence_threshold=-1"),
    ],
)
def test_bad_arguments_are_refused(cls, arguments, message):
    with pytest.raises(ValueError, match=f"Received: {message}"):
        make_detector(cls, **arguments)


def sample_one(cls):
    """A proposal on both of two objects, more on the first of them."""
    model = make_detector(cls)
    boxes = np.array([[[0, 0, 20, 20], [0, 4, 20, 26], [-1] * 4]], "float32")
    proposals = np.array([[[0, 1, 20, 22], [60, 60, 80, 80]]], "float32")
    samples = model._sample(
        ops.array(proposals),
        ops.array([[True, False]]),
        ops.array(boxes),
        ops.array([[2, 1, -1]], "int32"),
        ops.array([[0.5, 0.6]]),
    )
    chosen = ops.convert_to_numpy(samples.chosen)[0]
    rows = np.column_stack(
        [
            ops.convert_to_numpy(x)[0][chosen]
            for x in (samples.boxes, samples.objects, samples.labels)
        ]
    )
    return {tuple(row[:4]): tuple(row[4:]) for row in rows}


@pytest.mark.parametrize("cls, of", [(FasterRCNN, (0, 2)), (MaskRCNN, (1, 1))])
def test_proposals_are_matched_before_the_truth_is_added(cls, of):
    """The object that has no better proposal gets it in Mask R-CNN."""
    assert sample_one(cls) == {
        (0, 1, 20, 22): of,
        (0, 0, 20, 20): (0, 2),
        (0, 4, 20, 26): (1, 1),
    }


def test_a_quarter_of_the_samples_are_of_objects_at_most():
    """They are from an IoU of 0.5 on; what is below is background."""
    model = make_detector(FasterRCNN)
    half, less = [0, 0, 20, 10], [0, 0, 20, 9]
    samples = model._sample(
        ops.array([20 * [half] + 40 * [less]], "float32"),
        ops.ones((1, 60), "bool"),
        ops.array([[[0, 0, 20, 20]]], "float32"),
        ops.array([[1]], "int32"),
        random_keys((1, 60), model.seed_generator),
    )
    is_object, labels, chosen, boxes = (
        ops.convert_to_numpy(x)[0]
        for x in (
            samples.is_object,
            samples.labels,
            samples.chosen,
            samples.boxes,
        )
    )
    assert chosen.all() and len(chosen) == 32
    assert is_object.tolist() == 8 * [True] + 24 * [False]
    assert labels.tolist() == 8 * [1] + 24 * [3]
    assert (boxes[:8, 3] >= 10).all() and (boxes[8:, 3] == 9).all()


def test_objects_that_are_not_chosen_are_none():
    """Of 13 boxes of an object, and no background, 8 are."""
    model = make_detector(FasterRCNN)
    samples = model._sample(
        ops.array([12 * [[0, 0, 20, 15]]], "float32"),
        ops.ones((1, 12), "bool"),
        ops.array([[[0, 0, 20, 20]]], "float32"),
        ops.array([[1]], "int32"),
        random_keys((1, 12), model.seed_generator),
    )
    labels = ops.convert_to_numpy(samples.labels)[0].tolist()
    assert labels == 8 * [1] + 5 * [3]
    for flags in (samples.is_object, samples.chosen):
        flags = ops.convert_to_numpy(flags)[0].tolist()
        assert flags == 8 * [True] + 5 * [False]


def test_a_rounding_of_the_scores_changes_no_choice(monkeypatch):
    """Of two proposals that are nearly as likely it changes the order."""
    model, found = make_detector(FasterRCNN), []
    state = ops.convert_to_numpy(model.seed_generator.state)
    monkeypatch.setattr(
        model, "head_losses", lambda samples, *_: found.append(samples) or ()
    )
    random = np.random.default_rng(0)
    half = random.normal(size=(2, 511))
    targets = {
        "boxes": ops.array(2 * [[[8, 8, 40, 48]]], "float32"),
        "labels": ops.array([[1], [2]], "int32"),
        "image_size": ops.array(2 * [[64, 64]], "int32"),
    }
    for sign in (1, -1):
        other = half + sign * 1e-5 * np.sign(random.normal(size=half.shape))
        logits = np.concatenate((half, other, [[-9], [-9]]), axis=1)
        outputs = {
            "rpn_logits": ops.array(logits, "float32"),
            "rpn_deltas": ops.zeros((2, 1023, 4)),
        }
        model.seed_generator.state.assign(state)
        model.compute_losses(ops.zeros((2, 64, 64, 3)), targets, outputs)
    first, second = (ops.convert_to_numpy(samples.boxes) for samples in found)
    assert ops.convert_to_numpy(found[0].chosen).all()
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_the_head_learns_the_box_of_its_own_object(plain, monkeypatch):
    model = make_detector(FasterRCNN)
    boxes = np.array([[[0, 0, 9, 9], [10, 10, 50, 40], [0, 0, 5, 9]]])
    proposals = np.array([[[8, 12, 52, 44], [0, 1, 5, 8], [60, 60, 80, 80]]])
    samples = faster_rcnn.Samples(
        boxes=ops.array(proposals, "float32"),
        objects=ops.array([[1, 2, 0]], "int32"),
        labels=ops.array([[2, 0, 3]], "int32"),
        is_object=ops.array([[True, True, False]]),
        chosen=ops.ones((1, 3), "bool"),
    )
    outputs = ops.zeros((1, 3, 4)), ops.zeros((1, 3, 3, 4))
    monkeypatch.setattr(model, "apply_head", lambda *_: outputs)
    targets = {"boxes": ops.array(boxes, "float32")}
    entropy, error = model.head_losses(samples, targets, {})
    codes = [
        plain.encode_box(proposals[0, i], boxes[0, j], (0.1, 0.1, 0.2, 0.2))
        for i, j in ((0, 1), (1, 2))
    ]
    np.testing.assert_allclose(float(error), np.abs(codes).sum() / 3, rtol=1e-4)
    np.testing.assert_allclose(float(entropy), np.log(4), rtol=1e-5)


def test_the_losses_have_their_names_and_the_detector_s_anchors(monkeypatch):
    model, batch = make_detector(FasterRCNN), make_batch()
    seen = []

    def losses(boxes, valid, logits, deltas, padded, sizes, seed, anchors):
        seen.append((padded, sizes, anchors))
        return 1.0, 2.0

    def propose(logits, deltas, padded, sizes, candidates, number, anchors):
        seen.append((padded, sizes, anchors))
        found = ops.zeros((2, 5), "bool")
        return ops.zeros((2, 5, 4)), found, ops.zeros((2, 5), "int32")

    monkeypatch.setattr(region_proposal, "proposal_losses", losses)
    monkeypatch.setattr(region_proposal, "propose", propose)
    monkeypatch.setattr(model, "head_losses", lambda *_: (3.0, 4.0))
    sizes = ops.array([[40, 50], [64, 96]])
    targets = {"boxes": ops.array(batch["boxes"]), "image_size": sizes}
    targets["labels"] = ops.array(batch["labels"])
    outputs = {"rpn_logits": ops.zeros((2, 9)), "rpn_deltas": None}
    assert model.compute_losses(batch["images"], targets, outputs) == {
        "rpn_classification_loss": 1,
        "rpn_box_loss": 2,
        "classification_loss": 3,
        "box_loss": 4,
    }
    for padded, own, anchors in seen:
        assert tuple(padded) == (64, 96) and own is sizes
        assert anchors is model.anchor_generator
    assert len(seen) == 2


@pytest.mark.parametrize("portable", [False, True])
def test_features_of_boxes_are_taken_as_the_detector_says(
    monkeypatch, portable
):
    model, seen = make_detector(FasterRCNN, sampling_ratio=3), []
    model.portable = portable

    def align(features, strides, boxes, *options):
        seen.append((features, strides, options))
        return ops.zeros((1, 2, 7, 7, 256))

    monkeypatch.setattr(faster_rcnn, "pyramid_roi_align", align)
    levels = {f"P{level}": level for level in range(2, 7)}
    logits, deltas = model.apply_head(model.box_head, None, levels, 7)
    assert seen == [([2, 3, 4, 5], (4, 8, 16, 32), (7, 3, portable))]
    assert logits.shape == (1, 2, 4) and deltas.shape == (1, 2, 3, 4)


def test_boxes_end_where_the_image_does(monkeypatch):
    monkeypatch.setattr(faster_rcnn, "PROPOSALS", 100)
    model, images = make_detector(FasterRCNN), make_batch()["images"]
    sizes = ops.array([[40, 50], [64, 96]])
    boxes, scores, _ = model.candidates(images, model(images), sizes)
    first, second = ops.convert_to_numpy(ops.max(boxes, axis=1))[:, 2:]
    assert first.tolist() == [50, 40] and second.tolist() == [96, 64]
    assert boxes.shape == (2, 300, 4) and scores.shape == (2, 300)


def test_the_config_makes_the_same_detector():
    model = make_detector(FasterRCNN, sampling_ratio=3, seed=7)
    config = model.get_config()
    found = FasterRCNN.from_config(config)
    assert (found.num_samples, found.sampling_ratio, found.seed) == (32, 3, 7)
    assert found.get_config() == config


def test_the_defaults_are_those_of_the_paper():
    model = FasterRCNN(make_detector(FasterRCNN).backbone, 3)
    assert (model.num_samples, model.sampling_ratio) == (512, 2)
    assert model.seed is None
    for classes, seed, message in ((0, 1, "num_classes=0"), (3, -1, "seed=-1")):
        with pytest.raises(ValueError, match=f"Received: {message}"):
            FasterRCNN(model.backbone, classes, seed=seed)


def test_training_looks_at_more_anchors_than_prediction(monkeypatch):
    """At 2,000 and 1,000 of a level, as MMDetection, for 1,000 proposals."""
    propose, numbers = region_proposal.propose, []

    def note(*args):
        numbers.append(args[4:6])
        return propose(*args)

    monkeypatch.setattr(region_proposal, "propose", note)
    model, batch = make_detector(FasterRCNN), make_batch()
    model.compile("sgd")
    model.predict(batch, verbose=0)
    assert set(numbers) == {(1000, 1000)}
    numbers.clear()
    model.evaluate(batch, verbose=0)
    assert set(numbers) == {(2000, 1000)}


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_the_state_of_the_sampling_is_saved(ending, tmp_path):
    model, other = make_detector(FasterRCNN), make_detector(FasterRCNN)
    model.seed_generator.next()
    wanted = ops.convert_to_numpy(model.seed_generator.state)
    assert np.any(ops.convert_to_numpy(other.seed_generator.state) != wanted)
    path = tmp_path / f"model{ending}"
    if ending == ".keras":
        model.save(path)
        other = keras.saving.load_model(path)
    else:
        model.save_weights(path)
        other.load_weights(path)
    found = ops.convert_to_numpy(other.seed_generator.state)
    np.testing.assert_array_equal(found, wanted)


def test_files_without_the_state_of_the_sampling_are_read():
    model, store = make_detector(FasterRCNN), {}
    model.save_own_variables(store)
    del store["seed_generator_state"]
    model.load_own_variables(store)


def test_layers_of_the_heads_are_found_by_name():
    model = make_detector(MaskRCNN)
    assert model.get_layer("box_head") is model.box_head
    for head, name in (
        (model.box_head, "class_logits"),
        (model.mask_head, "mask_logits"),
    ):
        assert model.get_layer(name) is head.get_layer(name)
    assert model.get_layer("rpn_conv") in model.layers
    assert model.get_layer(index=0) is model.layers[0]
    with pytest.raises(ValueError, match="nothing"):
        model.get_layer("nothing")


def test_the_last_convolutions_of_proposals_are_in_full_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_detector(FasterRCNN)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("rpn_conv").compute_dtype == "bfloat16"
    for name in ("rpn_logits_conv", "rpn_deltas_conv"):
        assert model.get_layer(name).compute_dtype == "float32"
