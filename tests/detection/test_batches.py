import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import FasterRCNN, RetinaNet
from keras_epsanet.detection.batches import (
    TARGETS,
    as_pair,
    at_least_one_object,
    image_sizes,
)

NEEDED = ("boxes", "labels")


def make_batch(**changes):
    batch = {
        "images": np.zeros((2, 64, 64, 3), "float32"),
        "boxes": np.full((2, 4, 4), -1, "float32"),
        "labels": np.full((2, 4), -1, "int32"),
    }
    return {**batch, **changes}


def without(*names):
    return {k: v for k, v in make_batch().items() if k not in names}


@pytest.mark.parametrize(
    "data",
    [
        make_batch(image_id=np.arange(2)),
        (make_batch(),),
        (make_batch()["images"], without("images")),
    ],
)
def test_all_forms_of_a_batch_have_the_same_pair(data):
    images, targets = as_pair(data, NEEDED)
    assert images.shape == (2, 64, 64, 3) and set(targets) == set(NEEDED)


@pytest.mark.parametrize(
    "data, message",
    [
        (make_batch()["images"], "a batch of `images`$"),
        ((make_batch()["images"],), "a batch of `images`$"),
        (without("labels"), "a batch of `images`, `boxes`$"),
        (
            {"images": 0, "bounding_boxes": {"boxes": 0, "classes": 0}},
            "a batch of `images`, `bounding_boxes`$",
        ),
        ((np.zeros(2), np.zeros(2)), "a pair of ndarray and ndarray$"),
        ((make_batch(), {}), "a pair of dict and dict$"),
        (make_batch(boxes=np.zeros((2, 4, 5))), r"boxes .* \(2, 4, 5\)$"),
        (make_batch(boxes=np.zeros((2, 4))), r"boxes .* \(2, 4\)$"),
        (make_batch(labels=np.zeros((2, 3))), r"labels .* \(2, 3\)$"),
        (make_batch(labels=np.zeros((3, 4))), r"labels .* \(3, 4\)$"),
        (make_batch(images=np.zeros((2, 9, 3))), r"images .* \(2, 9, 3\)$"),
        (make_batch(image_size=np.zeros((2, 3))), r"image_size .* \(2, 3\)$"),
    ],
)
def test_other_batches_are_refused(data, message):
    with pytest.raises(ValueError, match=f"Received: {message}"):
        as_pair(data, NEEDED)


def test_weights_of_images_are_refused():
    batch = (*as_pair(make_batch()), np.ones(2))
    with pytest.raises(ValueError, match="Received: sample_weight="):
        as_pair(batch)


def test_without_sizes_nothing_is_padding():
    images = np.zeros((2, 32, 48, 3), "float32")
    sizes = keras.ops.convert_to_numpy(image_sizes(images, {}))
    np.testing.assert_array_equal(sizes, [[32, 48], [32, 48]])
    own = np.array([[1, 2], [3, 4]], "int64")
    sizes = image_sizes(images, {"image_size": own})
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(sizes), own)


@pytest.mark.parametrize("objects", [0, 1])
def test_an_object_is_added_to_all_targets_where_there_is_none(objects):
    shapes = {
        "boxes": (4,),
        "labels": (),
        "masks": (6, 6),
        "mask_grids": (2, 7),
    }
    targets = {
        name: keras.ops.ones((2, objects, *shape), "float32")
        for name, shape in shapes.items()
    }
    targets["image_size"] = keras.ops.ones((2, 2))
    assert set(targets) == set(TARGETS)
    padded = at_least_one_object(targets)
    values = {"boxes": -1, "labels": -1, "masks": 0, "mask_grids": 0}
    for name, shape in shapes.items():
        assert padded[name].shape == (2, 1, *shape)
        found = keras.ops.convert_to_numpy(padded[name])
        assert (found == (1 if objects else values[name])).all()
    assert padded["image_size"].shape == (2, 2)


@pytest.mark.parametrize("cls", [RetinaNet, FasterRCNN])
def test_images_may_have_no_row_for_objects(cls):
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5, 7, 9), (1, 4, 4, 4), reduction=4
    )
    model = cls(backbone, 3)
    model.compile("sgd")
    logs = [
        model.evaluate(batch, return_dict=True, verbose=0)
        for batch in (
            make_batch(),
            make_batch(boxes=np.zeros((2, 0, 4)), labels=np.zeros((2, 0))),
        )
    ]
    assert logs[1]["box_loss"] == 0
    if cls is RetinaNet:  # The others sample at random.
        for name, value in logs[0].items():
            np.testing.assert_allclose(logs[1][name], value, rtol=1e-5)


def test_fit_with_images_alone_says_what_is_missing():
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5, 7, 9), (1, 4, 4, 4), reduction=4
    )
    model = RetinaNet(backbone, 3)
    model.compile("sgd")
    with pytest.raises(ValueError, match="`boxes`, `labels`"):
        model.fit(make_batch()["images"], verbose=0)
