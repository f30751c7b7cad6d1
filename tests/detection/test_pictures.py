"""`detect` of the detectors: pictures of any size in, their pixels out."""

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from small_detectors import make_backbone

import keras_epsanet
from keras_epsanet.detection import (
    MaskRCNN,
    RetinaNet,
    paste_masks,
    pictures,
)
from keras_epsanet.detection.detector import Detector

BACKEND = keras.backend.backend()
needs_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow decodes files"
)
NAMES = ("hat", "bag", "shoe")
random = np.random.default_rng(0)


def make_detector(cls=RetinaNet, image_shape=(None, None, 3), **options):
    keras.utils.set_random_seed(0)
    backbone = make_backbone(
        image_shape=image_shape,
        data_format="channels_last",
    )
    options = {
        "confidence_threshold": 0.0,
        "max_detections": 5,
        "image_size": (64, 96),
        "class_names": NAMES,
        **options,
    }
    return cls(backbone, 3, **options)


def check(found, wanted, atol=1e-3):
    assert set(found) == set(wanted)
    assert len(wanted["boxes"])
    for name, values in wanted.items():
        if name == "class_names":
            assert found[name] == values
        else:
            np.testing.assert_allclose(
                found[name], values, atol=atol, err_msg=name
            )


# What `commands/detect.py` did before there was `detect`.
def detect_as_before(model, image, image_size):
    import tensorflow as tf

    sides = np.array(image.shape[:2])
    scale = min(image_size[0] / sides.min(), image_size[1] / sides.max())
    size = np.maximum(1, (sides * scale + 0.5).astype(int))
    resized = tf.image.resize(tf.cast(image, "float32"), size).numpy()
    inputs = keras_epsanet.preprocess_input(resized, "channels_last")
    inputs = np.pad(inputs, [*[(0, -n % 32) for n in size], (0, 0)])
    batch = {"images": inputs[None], "image_size": size[None]}
    found = dict(model.predict(batch, verbose=0))
    number = found.pop("num_detections")[0]
    found = {name: values[0, :number] for name, values in found.items()}
    boxes = found["boxes"] * np.tile((sides / size)[::-1], 2)
    found["boxes"] = np.clip(boxes, 0, np.tile(sides[::-1], 2))
    if "masks" in found:
        found["masks"] = paste_masks(found["masks"], found["boxes"], *sides)
    found["scores"] = found.pop("confidence")
    return {**found, "class_names": [NAMES[i] for i in found["labels"]]}


# Masks of boxes and boxes alone; Faster R-CNN has no other `predict`.
@pytest.mark.parametrize("cls", [RetinaNet, MaskRCNN])
@pytest.mark.skipif(BACKEND == "jax", reason="minutes of compilation")
def test_a_detector_finds_what_the_command_found_before(cls):
    pytest.importorskip("tensorflow")
    model = make_detector(cls)
    image = random.integers(0, 256, (40, 56, 3), "uint8")
    wanted = detect_as_before(model, image, (64, 96))
    found = model.detect(image)
    check(found, wanted)
    assert found["boxes"].dtype == found["scores"].dtype == "float32"
    assert found["labels"].dtype == "int32"
    if cls is MaskRCNN:
        assert found["masks"].dtype == bool
        assert found["masks"].shape == (len(found["boxes"]), 40, 56)


@pytest.mark.skipif(BACKEND == "jax", reason="minutes of compilation")
def test_a_saved_detector_knows_sizes_and_names(tmp_path):
    make_detector().save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert loaded.image_size == (64, 96) and loaded.class_names == NAMES


def test_an_older_config_is_read():
    config = make_detector().get_config()
    del config["image_size"], config["class_names"]
    loaded = RetinaNet.from_config(config)
    assert loaded.image_size == (800, 1333) and loaded.class_names is None


class Finder:
    """A detector that finds the bright part of each image, and nothing else.

    Its last row is padding, as of a detector that finds less than it may.
    """

    detect = Detector.detect
    image_size = (64, 96)
    class_names = NAMES
    bounding_box_format = "xyxy"
    masks = False
    margin = 0  # Pixels by which the box is too large.

    def __init__(self, image_shape=(None, None, 3), **options):
        self.input_shape = (None, *image_shape)
        self.shapes = []
        vars(self).update(options)

    def predict(self, batch, batch_size, verbose):
        images = batch["images"]
        assert images.dtype == "float32" and batch_size == len(images)
        self.shapes.append(images.shape)
        found = [self.find(*x) for x in zip(images, batch["image_size"])]
        return {
            name: np.stack([x[name] for x in found])
            for name in found[0]
            if name != "masks" or self.masks
        }

    def find(self, image, size):
        height, width = size
        assert not image[height:].any() and not image[:, width:].any()
        # White is 2.2 to 2.6 when normalized, black -2.1 to -1.8.
        rows, columns = (image > 0.2).all(-1).nonzero()
        box = np.full(4, -1.0, "float32")
        if len(rows):
            box[:] = columns.min(), rows.min(), columns.max(), rows.max()
            box[2:] += 1
            box += self.margin * np.array([-1, -1, 1, 1])
        box = keras.utils.bounding_boxes.convert_format(
            box[None],
            source="xyxy",
            target=self.bounding_box_format,
            height=image.shape[0],
            width=image.shape[1],
        )
        found = len(rows) > 0
        return {
            "boxes": np.concatenate(
                (ops.convert_to_numpy(box), np.full((1, 4), -1, "float32"))
            ),
            "confidence": np.array([0.75 if found else -1, -1], "float32"),
            "labels": np.array([1 if found else -1, -1]),
            "num_detections": np.array(int(found)),
            "masks": np.ones((2, 28, 28), "float32"),
        }


BOX = (16, 8, 40, 24)  # Of a picture of 56×40.


def picture(height=40, width=56, channels=3, box=BOX):
    """A white box on black."""
    image = np.zeros((height, width, channels), "uint8")
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


def check_box(found, box=BOX, atol=1.0):
    np.testing.assert_allclose(found["boxes"], [box], atol=atol)
    assert found["labels"].tolist() == [1]
    assert found["scores"].tolist() == [0.75]
    assert found["class_names"] == ["bag"]


@pytest.mark.parametrize(
    "sides, box",
    [
        ((40, 56), BOX),  # Made larger.
        ((200, 30), (6, 50, 24, 150)),  # As its longer side allows.
        ((300, 400), (80, 40, 320, 200)),
        ((64, 64), (0, 0, 64, 64)),
        ((63, 95), (90, 60, 95, 63)),
    ],
)
def test_boxes_are_in_pixels_of_the_picture(sides, box):
    pixel = max(1, max(sides) / 96, min(sides) / 64)
    found = Finder().detect(picture(*sides, box=box))
    check_box(found, box, atol=pixel)
    height, width = sides
    assert np.all(found["boxes"] >= 0)
    assert np.all(found["boxes"] <= (width, height, width, height))


def test_boxes_end_where_the_picture_ends():
    whole = (0, 0, 56, 40)
    found = Finder(margin=9).detect(picture(box=whole))
    check_box(found, whole, atol=0)


def test_a_list_has_a_result_for_each_picture():
    image = picture()
    nothing, there = Finder().detect([np.zeros((60, 20, 3)), image])
    check_box(there)
    assert nothing["boxes"].shape == (0, 4) and nothing["class_names"] == []
    assert [len(Finder().detect(x)) for x in ([image], (image,))] == [1, 1]


SIDES = [(40, 56), (56, 40), (41, 56), (40, 55), (80, 112)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_results_are_in_order_whatever_the_batch(batch_size):
    boxes = [(8 + i, 8, 30, 30) for i in range(len(SIDES))]
    images = [picture(*x, box=box) for x, box in zip(SIDES, boxes)]
    found = Finder().detect(images, batch_size=batch_size)
    for one, box in zip(found, boxes, strict=True):
        check_box(one, box, atol=1.5)


def test_pictures_of_one_padded_size_are_batches_of_one_shape():
    model = Finder()
    model.detect([picture(*x) for x in SIDES[:4]], batch_size=2)
    # The third is filled up; there is no batch that the tall one must be like.
    assert sorted(model.shapes) == [
        (1, 96, 64, 3),
        (2, 64, 96, 3),
        (2, 64, 96, 3),
    ]


def test_every_form_of_a_picture_is_taken():
    image = picture()
    for form in (
        image,
        image.astype("float32"),
        image.astype("int64"),
        image[..., :1],
        Image.fromarray(image),
        Image.fromarray(image[..., 0]),
        ops.convert_to_tensor(image),
    ):
        check_box(Finder().detect(form))


@needs_tensorflow
def test_files_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned clockwise.
    path = tmp_path / "turned.png"
    Image.fromarray(picture()).save(path, exif=exif)
    x1, y1, x2, y2 = BOX
    for form in (path, str(path)):
        check_box(Finder().detect(form), (40 - y2, x1, 40 - y1, x2))
    # The pixels of an image of Pillow are those that its user sees.
    with Image.open(path) as opened:
        check_box(Finder().detect(opened))


def test_low_scores_are_left_out():
    check_box(Finder().detect(picture(), min_score=0.75))
    found = Finder(masks=True).detect(picture(), min_score=0.76)
    assert found["boxes"].shape == (0, 4) and found["masks"].shape[0] == 0


def test_masks_are_in_pixels_of_the_picture():
    found = Finder(masks=True).detect(picture(80, 112, box=(32, 16, 80, 48)))
    assert found["masks"].dtype == bool and found["masks"].shape == (1, 80, 112)
    rows, columns = found["masks"][0].nonzero()
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    np.testing.assert_allclose(edges, (32, 16, 80, 48), atol=2)


@pytest.mark.parametrize("bounding_box_format", ["rel_yxyx", "xywh"])
def test_boxes_are_corners_whatever_the_format(bounding_box_format):
    model = Finder(bounding_box_format=bounding_box_format)
    check_box(model.detect(picture()))


def test_names_are_given_if_they_are_known():
    assert "class_names" not in Finder(class_names=None).detect(picture())


def test_keras_may_prefer_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        check_box(Finder().detect(picture()))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("limits", [(64, 96), (32, None), (None, 128)])
def test_a_picture_is_made_to_fit_a_backbone_of_one_size(limits):
    model = Finder(image_shape=(*limits, 3))
    check_box(model.detect(picture(40, 56)), atol=2)
    check_box(
        model.detect(picture(90, 31, box=(4, 8, 20, 80))), (4, 8, 20, 80), 3
    )
    for shape in model.shapes:
        for side, limit in zip(shape[1:3], limits):
            assert side == limit or limit is None and side % 32 == 0


@pytest.mark.parametrize(
    "images, message",
    [
        ([], r"must be a picture. Received: images=\[\]"),
        (np.zeros((4, 4)), r"images\[0\], ndarray of the shape \(4, 4\)"),
        ([np.zeros((8, 8, 3)), np.zeros((2, 8, 8, 3))], r"images\[1\]"),
        (np.zeros((8, 8, 4)), r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3)), r"\(0, 8, 3\)"),
        (np.full((8, 8, 3), 256.0), r"images\[0\] from 256.0 to 256.0"),
        (np.full((8, 8, 3), -1), r"from -1 to -1"),
        (np.full((8, 8, 3), np.nan), "from nan to nan"),
        (Image.new("F", (8, 8)), r"Received: images\[0\] of the mode F"),
        (None, "NoneType"),
        pytest.param(
            [np.zeros((8, 8, 3)), "none.jpg"],
            r"none.jpg cannot be decoded.*Received: images\[1\]='none.jpg'",
            marks=needs_tensorflow,
        ),
    ],
)
def test_what_is_no_picture_is_named(images, message):
    with pytest.raises(ValueError, match=message):
        Finder().detect(images)


def test_a_batch_has_a_picture_at_least():
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        Finder().detect(picture(), batch_size=0)


def test_detectors_of_other_images_are_refused():
    model = Finder(image_shape=(None, None, 1))
    with pytest.raises(
        ValueError, match=r"input shape \(None, None, None, 1\)"
    ):
        model.detect(picture())


@pytest.mark.parametrize("before", [(30, 40), (7, 5), (1, 9), (37, 53)])
@pytest.mark.parametrize("after", [(60, 80), (7, 5), (2, 3), (11, 90)])
def test_resizing_is_that_of_the_training(before, after):
    tf = pytest.importorskip("tensorflow")
    image = random.integers(0, 256, (*before, 3), "uint8")
    wanted = tf.image.resize(tf.cast(image, "float32"), after).numpy()
    found = pictures.resize(image, after)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, wanted, atol=1e-4)
