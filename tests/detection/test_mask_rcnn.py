import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import MaskRCNN


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
    )
    found = keras.ops.convert_to_numpy(samples.boxes)[0]
    (place,) = np.flatnonzero((found == proposals[0, 0]).all(axis=1))
    assert int(samples.objects[0, place]) == 1
    assert int(samples.labels[0, place]) == 1
