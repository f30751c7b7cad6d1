import keras
import numpy as np
from keras import ops

from keras_epsanet.detection.box_head import (
    box_head_losses,
    decode_boxes,
    make_box_head,
)

CLASSES = 3
STDS = (0.1, 0.1, 0.2, 0.2)


def make_arrays(images=2, samples=6):
    random = np.random.default_rng(0)
    corners = random.uniform(0, 30, (2, images, samples, 2))
    sides = random.uniform(5, 40, (2, images, samples, 2))
    proposals, boxes = np.concatenate((corners, corners + sides), -1)
    labels = random.integers(0, CLASSES + 1, (images, samples))
    chosen = random.uniform(size=(images, samples)) < 0.8
    logits = random.normal(size=(images, samples, CLASSES + 1))
    deltas = random.normal(size=(images, samples, CLASSES, 4))
    assert (labels == CLASSES).any() and not chosen.all()
    return [
        x.astype("float32") if x.dtype == "float64" else x
        for x in (
            proposals,
            boxes,
            labels.astype("int32"),
            chosen,
            logits,
            deltas,
        )
    ]


def test_losses_are_those_of_a_plain_loop(plain):
    arrays = make_arrays()
    proposals, boxes, labels, chosen, logits, deltas = arrays
    entropy = error = 0
    for i in np.ndindex(chosen.shape):
        if not chosen[i]:
            continue
        shares = np.exp(logits[i].astype("float64"))
        entropy -= np.log(shares[labels[i]] / shares.sum())
        if labels[i] < CLASSES:
            code = plain.encode_box(proposals[i], boxes[i], STDS)
            error += np.abs(deltas[i][labels[i]] - code).sum()
    number = chosen.sum()
    found = box_head_losses(*map(ops.array, arrays))
    np.testing.assert_allclose(float(found[0]), entropy / number, rtol=1e-4)
    np.testing.assert_allclose(float(found[1]), error / number, rtol=1e-4)


def test_boxes_of_all_classes_are_decoded(plain):
    proposals, _, _, valid, logits, deltas = make_arrays()
    arrays = map(ops.array, (proposals, valid, logits, deltas))
    boxes, scores, classes = map(
        ops.convert_to_numpy,
        decode_boxes(*arrays, ops.array([(50, 60), (30, 20)])),
    )
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for image, i, label in np.ndindex(2, 6, CLASSES):
        place = image, i * CLASSES + label
        wanted = plain.decode_box(
            proposals[image, i],
            deltas[image, i, label],
            ((50, 60), (30, 20))[image],
            STDS,
        )
        np.testing.assert_allclose(boxes[place], wanted, atol=1e-3)
        assert classes[place] == label
        wanted = shares[image, i, label] * valid[image, i]
        np.testing.assert_allclose(scores[place], wanted, rtol=1e-4)


def test_reference_values_of_the_code(plain):
    for anchor, box, code in (
        ((0, 0, 10, 20), (1, 2, 11, 26), (1, 2, 0, 0.9116)),
        ((5, 5, 15, 25), (5, 5, 25, 25), (5, 0, 3.4657, 0)),
    ):
        found = plain.encode_box(anchor, box, STDS)
        np.testing.assert_allclose(found, code, atol=1e-4)


def test_parameters():
    head = make_box_head(256, 80)
    assert head.count_params() == 14_306_705
    logits, deltas = head(np.zeros((5, 7, 7, 256), "float32"))
    assert tuple(logits.shape) == (5, 81) and tuple(deltas.shape) == (5, 80, 4)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_the_last_layers_start_close_to_nothing():
    head = make_box_head(16, 80)
    for name, deviation in (("class_logits", 0.01), ("box_deltas", 0.001)):
        kernel = ops.convert_to_numpy(head.get_layer(name).kernel)
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)


def test_the_first_layers_end_in_relu():
    head = make_box_head(4, 2)
    layers = [head.get_layer(f"box_fc{i}").output for i in (1, 2)]
    inputs = np.random.default_rng(0).normal(size=(3, 7, 7, 4))
    for x in keras.Model(head.input, layers)(inputs.astype("float32")):
        x = ops.convert_to_numpy(x)
        assert x.min() == 0 and 0.3 < np.mean(x == 0) < 0.7


def test_the_last_layers_are_in_full_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = make_box_head(4, 2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert head.get_layer("box_fc2").compute_dtype == "bfloat16"
    for name in ("class_logits", "box_deltas", "box_deltas_by_class"):
        assert head.get_layer(name).compute_dtype == "float32"
