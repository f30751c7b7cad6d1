import keras
import numpy as np
import pytest
from keras import ops
from small_detectors import make_backbone, make_resnet

from keras_epsanet import EPSANetBackbone, complexity
from keras_epsanet.detection import RetinaNet, boxes, matcher, retinanet

CLASSES = 3


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    return RetinaNet(make_backbone(), CLASSES)


def make_batch(seed=0, number=2, size=(64, 96)):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 30, (number, 4, 2))
    targets = np.concatenate(
        (corners, corners + random.uniform(8, 34, (number, 4, 2))), -1
    )
    labels = random.integers(0, CLASSES, (number, 4))
    labels[0, 2:] = -1
    targets[labels < 0] = -1
    return {
        "images": random.normal(size=(number, *size, 3)).astype("float32"),
        "boxes": targets.astype("float32"),
        "labels": labels.astype("int32"),
    }


# Table 3, with stem and first stage frozen; MMDetection counts ResNet-50's
# own layout, which is KerasHub's.
@pytest.mark.parametrize(
    "variant, parameters, gflops",
    [
        ("epsanet50_small", 34_777_260, 229.32),
        ("epsanet50_large", 40_067_684, 251.89),
        ("resnet50", 37_743_348, 239.32),
    ],
)
def test_parameters_and_flops_of_table_3(variant, parameters, gflops):
    if variant == "resnet50":
        backbone = make_resnet()
    else:
        backbone = EPSANetBackbone.from_variant(
            variant, freeze_stages=1, norm_eval=True
        )
    model = RetinaNet(backbone, 80)
    counted = sum(np.prod(w.shape) for w in model.trainable_weights)
    assert counted == parameters
    flops = complexity(model, (800, 1280, 3), convention="table3").flops
    # The second is 251.8951, which the table does not round up.
    assert abs(flops / 1e9 - gflops) < 0.0052


def test_the_start_takes_one_anchor_in_a_hundred_for_an_object(detector):
    outputs = detector(np.zeros((1, 64, 64, 3), "float32"))
    scores = ops.convert_to_numpy(ops.sigmoid(outputs["class_logits"]))
    np.testing.assert_allclose(scores, 0.01, atol=2e-3)
    bias = detector.get_layer("classification_output").bias
    np.testing.assert_allclose(bias, -np.log(99), rtol=1e-6)
    assert not ops.convert_to_numpy(detector.get_layer("box_output").bias).any()


def test_anchors_are_three_sizes_and_shapes_of_each_level(detector):
    generator = detector.anchor_generator
    assert generator.strides == (8, 16, 32, 64, 128)
    np.testing.assert_allclose(
        detector.anchor_scales, (4, 5.0397, 6.3496), 1e-4
    )
    assert detector.anchor_ratios == (0.5, 1, 2)


def test_kernels_of_both_towers_start_at_a_hundredth(detector):
    names = [f"{x}_conv{i}" for x in ("classification", "box") for i in (1, 4)]
    for name in (*names, "classification_output", "box_output"):
        kernel = ops.convert_to_numpy(detector.get_layer(name).kernel)
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.03)


def test_every_convolution_but_the_last_ends_in_relu(detector):
    x = ops.array(np.random.default_rng(0).normal(size=(1, 9, 9, 256)))
    for name in ("classification", "box"):
        for i in range(1, 5):
            out = detector.get_layer(f"{name}_conv{i}")(x)
            assert float(ops.min(out)) == 0 < float(ops.max(out))
        out = detector.get_layer(f"{name}_output")(x)
        assert not np.any(ops.convert_to_numpy(out) == 0)


def random_outputs(detector, images):
    random = np.random.default_rng(0)
    levels = [
        ops.convert_to_numpy(x) for x in detector.anchor_generator(64, 96)
    ]
    shape = images, sum(map(len, levels))
    logits = random.normal(size=(*shape, CLASSES)).astype("float32")
    deltas = random.normal(0, 2, (*shape, 4)).astype("float32")
    return levels, {"class_logits": logits, "box_deltas": deltas}


def test_candidates_are_the_best_of_each_level(detector, plain, monkeypatch):
    """Boxes of the right anchors and classes, clipped to their images."""
    monkeypatch.setattr(retinanet, "CANDIDATES", 40)
    levels, outputs = random_outputs(detector, 2)
    sizes = np.array([(40, 50), (64, 96)], "int32")
    found = detector.candidates(
        np.zeros((2, 64, 96, 3)),
        {name: ops.array(x) for name, x in outputs.items()},
        ops.array(sizes),
    )
    found = [ops.convert_to_numpy(x) for x in found]
    assert (found[1] == -1).any(axis=1).all()
    for image in range(2):
        begin = position = 0
        for anchors in levels:
            part = slice(begin, begin + len(anchors))
            logits = outputs["class_logits"][image, part].ravel()
            for place in np.argsort(-logits, kind="stable")[:40]:
                row, label = divmod(place, CLASSES)
                box = plain.decode_box(
                    anchors[row],
                    outputs["box_deltas"][image, begin + row],
                    sizes[image],
                )
                score = 1 / (1 + np.exp(-logits[place]))
                if np.prod(box[2:] - box[:2]) <= 0:
                    score = -1
                values = [x[image, position] for x in found]
                np.testing.assert_allclose(values[0], box, atol=2e-3)
                np.testing.assert_allclose(values[1], score, rtol=1e-5)
                assert values[2] == label
                position += 1
            begin += len(anchors)
        assert position == len(found[1][image])


def test_boxes_of_less_than_a_pixel_are_candidates(detector):
    _, outputs = random_outputs(detector, 1)
    outputs["box_deltas"][:] = 0, 0, -50, -50
    boxes, scores, _ = detector.candidates(
        np.zeros((1, 64, 96, 3)),
        {name: ops.array(x) for name, x in outputs.items()},
        ops.array([[64, 96]]),
    )
    sides = ops.convert_to_numpy(boxes[0, :, 2:] - boxes[0, :, :2])
    small = (0 < sides.min(axis=1)) & (sides.prod(axis=1) < 0.5)
    assert (
        small.sum() > 500 and (ops.convert_to_numpy(scores)[0, small] > 0).all()
    )


def test_a_thousand_of_each_level_are_looked_at(detector):
    levels, outputs = random_outputs(detector, 1)
    outputs = {name: ops.array(x) for name, x in outputs.items()}
    sizes = ops.array([[64, 96]])
    _, scores, _ = detector.candidates(np.zeros((1, 64, 96, 3)), outputs, sizes)
    sizes = [len(level) * CLASSES for level in levels]
    assert sizes[0] > 1000 > sizes[1]
    assert scores.shape == (1, 1000 + sum(sizes[1:]))


@pytest.fixture
def biased(detector):
    """Of random scores: at 0.01 each, background hardly has a loss."""
    bias = detector.get_layer("classification_output").bias
    former = ops.convert_to_numpy(bias).copy()
    bias.assign(np.random.default_rng(0).normal(0, 1, bias.shape))
    yield detector
    bias.assign(former)


def make_padded_batch():
    """Three images that end in different places, one without objects."""
    batch = make_batch(number=3)
    batch["labels"][2] = batch["boxes"][2] = -1
    sizes = [[64, 96], [40, 64], [30, 96]]
    return {**batch, "image_size": np.array(sizes, "int32")}


def expected_losses(detector, batch, plain):
    """Of a whole batch, anchor by anchor."""
    outputs = detector(batch["images"])
    logits = ops.convert_to_numpy(outputs["class_logits"]).astype("float64")
    deltas = ops.convert_to_numpy(outputs["box_deltas"]).astype("float64")
    anchors = np.concatenate(
        [
            ops.convert_to_numpy(level)
            for level in detector.anchor_generator(64, 96)
        ]
    )
    class_loss, box_loss, count, ignored = 0, 0, 0, 0
    all_anchors, of_all = anchors, (logits, deltas)
    for image in range(len(of_all[0])):
        size = batch["image_size"][image]
        inside = [plain.is_inside(anchor, size) for anchor in all_anchors]
        assert image == 0 or not all(inside)
        anchors = all_anchors[inside]
        logits, deltas = (values[:, inside] for values in of_all)
        ious = boxes.intersection_over_union(anchors, batch["boxes"][image])
        result = matcher.match(ious, batch["labels"][image] >= 0, 0.5, 0.4, 0.0)
        indices, positive, negative = map(ops.convert_to_numpy, result)
        count += max(positive.sum(), 1)
        ignored += np.sum(~(positive | negative))
        for anchor in np.flatnonzero(positive | negative):
            target = np.zeros(CLASSES)
            if positive[anchor]:
                index = indices[anchor]
                target[batch["labels"][image, index]] = 1
                box = batch["boxes"][image, index].astype("float64")
                ax, ay, x, y = (
                    (z[i] + z[i + 2]) / 2
                    for z in (anchors[anchor], box)
                    for i in (0, 1)
                )
                (aw, ah), (w, h) = (
                    z[2:] - z[:2] for z in (anchors[anchor], box)
                )
                code = (
                    (x - ax) / aw,
                    (y - ay) / ah,
                    np.log(w / aw),
                    np.log(h / ah),
                )
                box_loss += np.abs(deltas[image, anchor] - code).sum()
            p = 1 / (1 + np.exp(-logits[image, anchor]))
            class_loss -= np.sum(
                target * 0.25 * (1 - p) ** 2 * np.log(p)
                + (1 - target) * 0.75 * p**2 * np.log(1 - p)
            )
    assert count > 10 and ignored > 10
    return {
        "classification_loss": class_loss / count,
        "box_loss": box_loss / count,
        "loss": (class_loss + box_loss) / count,
    }


@pytest.mark.parametrize("form", ["dictionary", "pair", "other format"])
def test_losses_are_those_of_a_plain_loop(biased, plain, form):
    detector, batch = biased, make_padded_batch()
    expected = expected_losses(detector, batch, plain)
    data = [batch]
    if form == "pair":
        data = [batch.pop("images"), batch]
    if form == "other format":
        x1, y1, x2, y2 = np.moveaxis(batch["boxes"], -1, 0)
        batch["boxes"] = np.stack((x1, y1, x2 - x1, y2 - y1), -1)
        detector.bounding_box_format = "xywh"
    detector.compile("sgd")
    logs = detector.evaluate(*data, return_dict=True, verbose=0)
    detector.bounding_box_format = "xyxy"
    assert logs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=2e-4)


def test_images_without_objects_have_a_loss(detector):
    batch = make_batch()
    batch["labels"][:] = -1
    batch["boxes"][:] = -1
    detector.compile("sgd")
    logs = detector.evaluate(batch, return_dict=True, verbose=0)
    assert logs["box_loss"] == 0 and 0 < logs["classification_loss"] < 1000


@pytest.mark.large
def test_training_finds_the_object_of_an_image():
    keras.utils.set_random_seed(0)
    model = RetinaNet(make_backbone(), CLASSES, bounding_box_format="xywh")
    image = np.zeros((1, 64, 64, 3), "float32")
    image[:, 8:40, 16:56] = 3
    batch = {
        "images": image,
        "boxes": np.array([[[16, 8, 40, 32]]], "float32"),
        "labels": np.array([[2]], "int32"),
    }
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(batch, epochs=60, verbose=0)
    found = model.predict(image, verbose=0)
    assert found["labels"][0, 0] == 2
    np.testing.assert_allclose(found["boxes"][0, 0], (16, 8, 40, 32), atol=6)
    rest = found["num_detections"][0]
    assert np.all(found["boxes"][0, rest:] == -1)
    assert np.all(found["confidence"][0, :rest] > 0.05)


def test_mixed_precision_trains():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = RetinaNet(make_backbone(), CLASSES)
    finally:
        keras.config.set_dtype_policy("float32")
    batch = make_batch(number=1, size=(64, 64))
    outputs = model(batch["images"])
    assert model.layers[5].compute_dtype == "bfloat16"
    assert all("float32" in str(x.dtype) for x in outputs.values())
    for name in ("classification_output", "box_output"):
        # Not rounded to float32 only after the convolution.
        assert model.get_layer(name).compute_dtype == "float32"
    model.compile(keras.optimizers.SGD(0.01))
    loss = model.fit(batch, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(loss).all() and loss[-1] < loss[0]


def test_saved_it_predicts_the_same(detector, run_python, tmp_path):
    images = make_batch()["images"]
    detector.confidence_threshold = 0.0
    detector.save(tmp_path / "model.keras")
    np.savez(
        tmp_path / "expected.npz",
        images=images,
        **detector.predict(images, verbose=0),
    )
    run_python(
        f"""
import keras, numpy as np
import keras_epsanet.detection
model = keras.saving.load_model({str(tmp_path / "model.keras")!r})
expected = dict(np.load({str(tmp_path / "expected.npz")!r}))
found = model.predict(expected.pop("images"), verbose=0)
assert found["num_detections"].min() > 0
for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)
"""
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"backbone": keras.Sequential([keras.Input((8, 8, 3))])}, "none"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    arguments = {"backbone": make_backbone(), "num_classes": 1, **arguments}
    with pytest.raises(ValueError, match=f"Received: .*{message}"):
        RetinaNet(**arguments)


def test_losses_of_the_user_are_refused(detector):
    with pytest.raises(ValueError, match="Received: loss=mse"):
        detector.compile("sgd", loss="mse")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
def test_means_of_losses_are_weighted_by_images(biased):
    import tensorflow as tf

    batches = [make_batch(seed, number) for seed, number in ((0, 3), (1, 1))]
    biased.compile("sgd")
    one, other = (
        biased.evaluate(batch, return_dict=True, verbose=0) for batch in batches
    )
    both = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature={
            "images": tf.TensorSpec((None, 64, 96, 3), "float32"),
            "boxes": tf.TensorSpec((None, 4, 4), "float32"),
            "labels": tf.TensorSpec((None, 4), "int32"),
        },
    )
    found = biased.evaluate(both, return_dict=True, verbose=0)
    for name, value in found.items():
        assert abs(one[name] - other[name]) > 1e-3
        expected = (3 * one[name] + other[name]) / 4
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_one_seed_starts_the_towers_differently():
    initializer = keras.initializers.HeNormal(seed=3)
    model = RetinaNet(make_backbone(), 3, head_initializer=initializer)
    for i in range(1, 5):
        first, second = (
            model.get_layer(f"{tower}_conv{i}").kernel.numpy()
            for tower in ("classification", "box")
        )
        assert not np.allclose(first, second)


def test_the_config_has_the_initializer_of_the_heads():
    model = RetinaNet(make_backbone(), CLASSES, head_initializer="he_normal")
    config = model.get_config()["head_initializer"]
    assert config["class_name"] == "HeNormal"
    for name, deviation in (
        ("box_conv1", (2 / (9 * 256)) ** 0.5),
        ("box_output", 0.01),
    ):
        kernel = ops.convert_to_numpy(model.get_layer(name).kernel)
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)


def test_the_focal_loss_may_be_changed_afterwards():
    """By its definition, for one anchor and one class."""
    detector = RetinaNet(make_backbone(), 1, focal_alpha=0.5)
    config = detector.get_config()
    assert (config["focal_alpha"], config["focal_gamma"]) == (0.5, 2.0)
    images = np.zeros((1, 32, 32, 3), "float32")
    # No object: all anchors are background, of the probability p.
    targets = {"boxes": [[[-1.0] * 4]], "labels": [[-1]]}
    targets = {k: np.array(v) for k, v in targets.items()}
    detector.compile("sgd")
    number = sum(len(x) for x in detector.anchor_generator(32, 32))
    for alpha, gamma in ((0.5, 2.0), (0.25, 0.0), (0.75, 1.0)):
        detector.focal_alpha, detector.focal_gamma = alpha, gamma
        loss = detector.evaluate(images, targets, verbose=0, return_dict=True)
        p = 0.01  # As the last bias starts; of zeros all else is zero.
        wanted = -(1 - alpha) * p**gamma * np.log(1 - p) * number
        assert loss["classification_loss"] == pytest.approx(wanted, rel=1e-3)
