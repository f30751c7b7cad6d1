import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import FasterRCNN, MaskRCNN, mask_rcnn
from keras_epsanet.detection.faster_rcnn import Samples


def make_batch():
    """Two images with a disc and a ring each, and an empty row."""
    y, x = np.mgrid[:64, :96] + 0.5
    masks = np.zeros((2, 3, 64, 96), "uint8")
    boxes = np.full((2, 3, 4), -1, "float32")
    for i, (left, top, side) in enumerate([(8, 4, 36), (50, 20, 40)]):
        distance = np.hypot(x - left - side / 2, y - top - side / 2)
        for image in (0, 1):
            masks[image, i] = distance < side / 2
            masks[image, i] &= (distance > side / 4) | (image == 0)
            boxes[image, i] = left, top, left + side, top + side
    return {
        "images": np.random.default_rng(0).normal(size=(2, 64, 96, 3)),
        "boxes": boxes,
        "labels": np.array([[1, 0, -1], [2, 1, -1]], "int32"),
        "masks": masks,
    }


def crop_masks(batch):
    """The same batch as the loader of COCO makes it."""
    coding = pytest.importorskip("pycocotools.mask")
    from keras_epsanet.data.coco.masks import crop_objects

    size = (64, 96)
    cropped = [
        crop_objects(
            coding.encode(np.asfortranarray(masks[:2].transpose(1, 2, 0))),
            *(size, size, size, False, 3),
        )
        for masks in batch["masks"]
    ]
    masks, grids = map(np.stack, zip(*cropped))
    return {**batch, "masks": masks, "mask_grids": grids}


@pytest.fixture(scope="module")
def model():
    if keras.backend.backend() == "jax":
        pytest.skip("takes long to compile")
    keras.utils.set_random_seed(0)
    backbone = EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        (3, 5, 7, 9),
        (1, 4, 4, 4),
        reduction=4,
        norm_eval=True,
    )
    model = MaskRCNN(backbone, 3, num_samples=32, seed=0)
    model.compile("sgd", run_eagerly=True)
    return model


def test_cropped_masks_are_learnt_as_planes_are(model):
    batch = make_batch()
    seed = np.array(model.seed_generator.state)

    def evaluate(batch):
        model.seed_generator.state.assign(seed)
        return model.evaluate(batch, verbose=0, return_dict=True)

    planes, cropped = evaluate(batch), evaluate(crop_masks(batch))
    empty = evaluate({**batch, "masks": 0 * batch["masks"]})
    assert cropped == pytest.approx(planes, rel=1e-5)
    assert abs(empty["mask_loss"] - planes["mask_loss"]) > 1e-3


def test_images_without_objects_have_no_loss_of_masks(model):
    batch = make_batch()
    for name in ("boxes", "labels"):
        batch[name] = np.full_like(batch[name], -1)
    losses = model.evaluate(batch, verbose=0, return_dict=True)
    assert losses["mask_loss"] == 0 and np.isfinite(losses["loss"])


def test_the_object_without_a_better_proposal_gets_it(model):
    """Though the proposal has more of another object."""
    boxes = np.array([[[0, 0, 20, 20], [0, 4, 20, 26], [-1] * 4]], "float32")
    proposals = np.array([[[0, 1, 20, 22], [60, 60, 80, 80]]], "float32")
    samples = model._sample(
        keras.ops.array(proposals),
        keras.ops.array([[True, False]]),
        keras.ops.array(boxes),
        keras.ops.array([[2, 1, -1]], "int32"),
        keras.ops.array([[0.5, 0.6]]),
    )
    found = keras.ops.convert_to_numpy(samples.boxes)[0]
    (place,) = np.flatnonzero((found == proposals[0, 0]).all(axis=1))
    assert int(samples.objects[0, place]) == 1
    assert int(samples.labels[0, place]) == 1


@pytest.mark.parametrize(
    "counts, number", [([0, 0], 1), ([3, 2], 3), ([2, 7], 5)]
)
def test_the_head_sees_as_many_boxes_as_there_are(counts, number):
    if keras.backend.backend() == "jax":
        number = 5
    found = mask_rcnn._largest(keras.ops.array(counts, "int32"), 5)
    assert int(found) == number


def test_masks_are_those_of_the_classes_that_were_found(model, monkeypatch):
    """Nothing is drawn beyond the last object."""
    number, seen = model.max_detections, []
    labels = np.full((2, number), -1)
    labels[0, :2], labels[1, 0] = (1, 2), 0
    found = {
        "boxes": keras.ops.array(
            np.arange(8.0 * number).reshape(2, number, 4), "float32"
        ),
        "labels": keras.ops.array(labels),
        "num_detections": keras.ops.array([2, 1], "int32"),
    }

    def apply_head(head, boxes, outputs, size):
        seen.append((head, keras.ops.convert_to_numpy(boxes), outputs, size))
        logits = keras.ops.arange(3, dtype="float32") - 1
        return keras.ops.broadcast_to(logits, (2, 2, 28, 28, 3))

    monkeypatch.setattr(FasterRCNN, "decode", lambda *_: found)
    monkeypatch.setattr(model, "apply_head", apply_head)
    result = model.decode("images", "outputs", "sizes")
    ((head, boxes, outputs, size),) = seen
    assert head is model.mask_head and (outputs, size) == ("outputs", 14)
    np.testing.assert_array_equal(boxes, found["boxes"][:, :2])
    masks = keras.ops.convert_to_numpy(result.pop("masks"))
    assert result == found and masks.shape == (2, number, 28, 28)
    chances = 1 / (1 + np.exp([1.0, 0, -1]))
    np.testing.assert_allclose(masks[0, 0], chances[1], rtol=1e-6)
    np.testing.assert_allclose(masks[0, 1], chances[2], rtol=1e-6)
    np.testing.assert_allclose(masks[1, 0], chances[0], rtol=1e-6)
    assert not masks[:, 2:].any()


def test_masks_of_the_samples_of_objects_are_learnt(model, monkeypatch):
    """Those are the first, at most a quarter of 32; one image has three."""
    seen = {}
    is_object = np.zeros((2, 32), bool)
    is_object[0, :3] = is_object[1, :1] = True
    random = np.random.default_rng(0)
    samples = Samples(
        boxes=random.uniform(size=(2, 32, 4)),
        objects=random.integers(0, 3, (2, 32)),
        labels=random.integers(0, 4, (2, 32)),
        is_object=is_object,
        chosen=np.ones((2, 32), bool),
    )
    samples = Samples(*map(keras.ops.convert_to_tensor, samples))

    def apply_head(head, boxes, outputs, size):
        seen["boxes"] = boxes
        assert head is model.mask_head and (outputs, size) == ("outputs", 14)
        return "logits"

    def mask_loss(*arguments):
        seen["arguments"] = arguments
        return 3.0

    monkeypatch.setattr(FasterRCNN, "head_losses", lambda *_: (1.0, 2.0))
    monkeypatch.setattr(model, "apply_head", apply_head)
    monkeypatch.setattr(mask_rcnn.mask_head, "mask_loss", mask_loss)
    targets = {"masks": "masks", "mask_grids": "grids"}
    assert model.head_losses(samples, targets, "outputs") == (1, 2, 3)
    masks, objects, boxes, labels, flags, logits, grids = seen["arguments"]
    assert (masks, logits, grids) == ("masks", "logits", "grids")
    number = 8 if keras.backend.backend() == "jax" else 3
    for ours, theirs in (
        (objects, samples.objects),
        (boxes, samples.boxes),
        (seen["boxes"], samples.boxes),
        (labels, samples.labels),
        (flags, samples.is_object),
    ):
        np.testing.assert_array_equal(ours, theirs[:, :number])
