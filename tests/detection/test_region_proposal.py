import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection import region_proposal
from keras_epsanet.detection.region_proposal import (
    ANCHORS,
    apply_proposal_head,
    proposal_losses,
    propose,
)

SIZE = (64, 96)
# Without their padding; they end at the multiples of 32 (64, 64), (32, 96).
SIZES = np.array([(38, 59), (30, 70)], "int32")


def all_anchors():
    return [ops.convert_to_numpy(level) for level in ANCHORS(*SIZE)]


def make_outputs(seed=0, images=2):
    random = np.random.default_rng(seed)
    number = sum(map(len, all_anchors()))
    return (
        random.normal(size=(images, number)).astype("float32"),
        random.normal(0, 0.3, (images, number, 4)).astype("float32"),
    )


def test_anchors_of_the_first_level():
    first = all_anchors()[0][:3]
    halves = [(22.627, 11.314), (16, 16), (11.314, 22.627)]
    np.testing.assert_allclose(first[:, 2:], halves, atol=1e-3)
    np.testing.assert_allclose(first[:, :2], -first[:, 2:])
    assert sum(len(x) for x in ANCHORS(800, 1280)) == 255_780


@pytest.mark.parametrize(
    "candidates, number",
    [(50, 20), (3, 30), pytest.param(2000, 300, marks=pytest.mark.large)],
)
def test_proposals_are_those_of_a_plain_loop(plain, candidates, number):
    logits, deltas = make_outputs()
    boxes, found, origins = propose(
        *map(ops.array, (logits, deltas)),
        SIZE,
        ops.array(SIZES),
        candidates,
        number,
    )
    boxes, found, origins = map(ops.convert_to_numpy, (boxes, found, origins))
    assert boxes.shape == (2, number, 4)
    for image in range(2):
        kept, begin = [], 0
        for anchors in all_anchors():
            scores = logits[image, begin : begin + len(anchors)]
            order = np.argsort(-scores, kind="stable")[:candidates]
            decoded = [
                plain.decode_box(
                    anchors[i], deltas[image, begin + i], SIZES[image]
                )
                for i in order
            ]
            chosen = plain.suppress(decoded, 0.7)[:number]
            kept += [
                (scores[order[i]], decoded[i], begin + order[i]) for i in chosen
            ]
            begin += len(anchors)
        kept.sort(key=lambda pair: -pair[0])
        wanted = [box for _, box, _ in kept[:number]]
        assert found[image].sum() == len(wanted)
        assert origins[image, : len(wanted)].tolist() == [
            anchor for *_, anchor in kept[:number]
        ]
        np.testing.assert_allclose(
            boxes[image, : len(wanted)], wanted, atol=1e-3
        )


def test_losses_are_those_of_a_plain_loop(plain, monkeypatch):
    """With all anchors as samples, object by object and anchor by anchor."""
    monkeypatch.setattr(region_proposal, "SAMPLES", 10**6)
    monkeypatch.setattr(region_proposal, "MAX_OBJECTS", 10**6)
    logits, deltas = make_outputs()
    boxes = np.array(
        [
            # The last has no anchor that is like it.
            [[3, 4, 40, 38], [50, 10, 59, 22], [40, 50, 44, 53]],
            [[20, 2, 70, 30], [-1] * 4, [-1] * 4],
        ],
        "float32",
    )
    valid = np.array([[True, True, True], [True, False, False]])
    anchors = np.concatenate(all_anchors())
    entropy = error = count = objects = 0
    for image in range(2):
        own = boxes[image][valid[image]]
        inside = [plain.is_inside(a, SIZES[image]) for a in anchors]
        assert 0 < sum(inside) < len(anchors)
        ious = np.array([[plain.iou(a, b) for b in own] for a in anchors])
        ious[np.logical_not(inside)] = -1
        best = ious.max(0)
        for i, anchor in enumerate(anchors):
            of = ious[i].argmax() if ious[i].max() >= 0.7 else None
            for j in range(len(own)):
                if best[j] >= 0.3 and ious[i, j] == best[j]:
                    of = j
            if of is None and ious[i].max() >= 0.3 or not inside[i]:
                continue
            count += 1
            sign = 1 if of is not None else -1
            entropy += np.log1p(np.exp(-sign * logits[image, i]))
            if of is not None:
                objects += 1
                code = plain.encode_box(anchor, own[of])
                error += np.abs(deltas[image, i] - code).sum()
    assert objects > 3
    found = proposal_losses(
        *map(ops.array, (boxes, valid, logits, deltas)),
        SIZE,
        ops.array(SIZES),
        keras.random.SeedGenerator(0),
    )
    np.testing.assert_allclose(float(found[0]), entropy / count, rtol=1e-4)
    np.testing.assert_allclose(float(found[1]), error / count, rtol=1e-4)


def test_at_most_256_anchors_an_image_are_learnt():
    """Each has the entropy of a logit of 0, so the mean has it too."""
    number = sum(map(len, all_anchors()))
    found = proposal_losses(
        ops.array([[[3.0, 4, 40, 38]]]),
        ops.array([[True]]),
        ops.zeros((1, number)),
        ops.zeros((1, number, 4)),
        SIZE,
        ops.array([SIZE]),
        keras.random.SeedGenerator(0),
    )
    np.testing.assert_allclose(float(found[0]), np.log(2), rtol=1e-5)
    assert 0 < float(found[1]) < 10


def losses_of_anchors():
    """All anchors of the first level are objects, all deltas are 100 off."""
    anchors = all_anchors()
    number = sum(map(len, anchors))
    return proposal_losses(
        ops.array(anchors[:1]),
        ops.ones((1, len(anchors[0])), "bool"),
        ops.zeros((1, number)),
        ops.full((1, number, 4), 100.0),
        SIZE,
        ops.array([SIZE]),
        keras.random.SeedGenerator(0),
    )


def test_at_most_half_of_the_samples_are_of_objects():
    entropy, error = losses_of_anchors()
    np.testing.assert_allclose(float(entropy), np.log(2), rtol=1e-5)
    np.testing.assert_allclose(float(error), 400 / 2, rtol=0.01)


def test_objects_that_are_not_chosen_count_nowhere(monkeypatch):
    monkeypatch.setattr(region_proposal, "SAMPLES", 10**6)
    monkeypatch.setattr(region_proposal, "MAX_OBJECTS", 1)
    entropy, error = losses_of_anchors()
    np.testing.assert_allclose(float(entropy), np.log(2), rtol=1e-5)
    # One of them, and all background.
    others = sum(map(len, all_anchors()[1:]))
    assert 400 / (1 + others) < float(error) < 400 / 30


def test_images_without_objects_teach_background():
    logits, deltas = make_outputs()
    found = proposal_losses(
        ops.full((2, 3, 4), -1.0),
        ops.zeros((2, 3), "bool"),
        ops.array(logits),
        ops.array(deltas),
        SIZE,
        ops.array(2 * [SIZE]),
        keras.random.SeedGenerator(0),
    )
    assert 0 < float(found[0]) < 2 and float(found[1]) == 0


def test_an_image_without_objects_divides_as_if_it_had_a_positive():
    """MMDetection's: 256 of background, and one that is not there."""
    number = sum(map(len, all_anchors()))
    found = proposal_losses(
        ops.full((1, 1, 4), -1.0),
        ops.zeros((1, 1), "bool"),
        ops.zeros((1, number)),
        ops.zeros((1, number, 4)),
        SIZE,
        ops.array([SIZE]),
        keras.random.SeedGenerator(0),
    )
    np.testing.assert_allclose(
        float(found[0]), np.log(2) * 256 / 257, rtol=1e-5
    )


def propose_one(deltas):
    """The proposals of an image whose first anchor alone is likely."""
    logits = ops.array([[9.0] + [-9.0] * (deltas.shape[1] - 1)])
    return propose(logits, deltas, SIZE, ops.array([SIZE]), 5, 5)


def test_boxes_without_an_area_are_no_proposals():
    """However likely: one is outside of the image, so nothing is left."""
    deltas = np.zeros((1, sum(map(len, all_anchors())), 4), "float32")
    boxes, *_ = propose_one(ops.array(deltas))
    kept = ops.convert_to_numpy(boxes)[0]
    np.testing.assert_allclose(kept[0], (0, 0, 22.627, 11.314), atol=1e-3)
    deltas[0, 0, 0] = -50  # Anchors to the left.
    boxes, found, _ = map(ops.convert_to_numpy, propose_one(ops.array(deltas)))
    assert np.all(np.prod(boxes[found][:, 2:] - boxes[found][:, :2], 1) > 0)


def test_boxes_of_less_than_a_pixel_are_proposals():
    deltas = np.zeros((1, sum(map(len, all_anchors())), 4), "float32")
    deltas[0, 0] = 1, 1, -50, -50
    boxes, found, _ = map(ops.convert_to_numpy, propose_one(ops.array(deltas)))
    width, height = boxes[0, 0, 2:] - boxes[0, 0, :2]
    assert found[0, 0] and 0 < width < 0.8 and 0 < height < 0.5


def test_proposals_have_no_gradient(gradient_of):
    _, deltas = make_outputs(images=1)

    def total(deltas):
        boxes, *_ = propose_one(ops.convert_to_tensor(deltas))
        return ops.sum(boxes) + 0 * ops.sum(deltas)

    assert float(total(ops.array(deltas))) > 0
    assert not gradient_of(total, deltas).any()


def test_the_head_is_a_convolution_with_relu_before_two_others():
    levels = {
        name: keras.Input((side, side, 4), name=name)
        for name, side in zip(("P2", "P3"), (4, 2))
    }
    model = keras.Model(levels, apply_proposal_head(levels))
    random = np.random.default_rng(0)
    values = {
        name: random.normal(size=(2, *x.shape[1:])).astype("float32")
        for name, x in levels.items()
    }
    hidden, *last = (
        model.get_layer(name)
        for name in ("rpn_conv", "rpn_logits_conv", "rpn_deltas_conv")
    )
    for layer in (hidden, *last):
        for weight in layer.weights:
            weight.assign(random.normal(size=weight.shape))
    for found, layer in zip(model(values), last):
        per_anchor = layer.filters // ANCHORS.num_anchors
        shape = (2, -1) if per_anchor == 1 else (2, -1, per_anchor)
        expected = [
            np.reshape(
                ops.convert_to_numpy(layer(ops.maximum(hidden(x), 0))), shape
            )
            for x in map(ops.array, values.values())
        ]
        np.testing.assert_allclose(
            ops.convert_to_numpy(found),
            np.concatenate(expected, axis=1),
            atol=1e-5,
        )


def test_the_head_starts_close_to_nothing_and_ends_in_full_precision():
    levels = {name: keras.Input((4, 4, 64), name=name) for name in ("P2", "P3")}
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Model(levels, apply_proposal_head(levels))
    finally:
        keras.config.set_dtype_policy("float32")
    for name in ("rpn_conv", "rpn_logits_conv", "rpn_deltas_conv"):
        kernel = ops.convert_to_numpy(model.get_layer(name).kernel)
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.2)
        assert not ops.convert_to_numpy(model.get_layer(name).bias).any()
    assert model.get_layer("rpn_conv").compute_dtype == "bfloat16"
    last = [x for x in model.layers if x.name.startswith("rpn_")][1:]
    found = {x.name: x.compute_dtype for x in last if x.name != "rpn_conv"}
    assert len(found) == 8 and set(found.values()) == {"float32"}
