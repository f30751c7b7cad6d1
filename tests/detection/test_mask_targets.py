import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection import unfold_masks
from keras_epsanet.detection.mask_targets import crop_masks

SIZE = 28
BOXES = 6  # Of every object.


@pytest.fixture
def plain_masks():
    """The module `plain_masks` of this folder."""
    import plain_masks

    return plain_masks


def crop(masks, objects, boxes, grids=None, size=SIZE):
    """The targets of one image as an array."""
    arrays = (masks, np.asarray(objects, "int32"), boxes)
    arrays = [ops.convert_to_tensor(np.asarray(x)[None]) for x in arrays]
    if grids is not None:
        grids = ops.convert_to_tensor(np.asarray(grids)[None])
    return ops.convert_to_numpy(crop_masks(*arrays, size, grids))[0]


def make_outline(random, size, largest):
    """A star in an image of this size, as COCO writes polygons."""
    height, width = size
    number = random.integers(3, 30)
    radii = np.exp(random.uniform(np.log(4), np.log(largest / 2), 2))
    angles = np.linspace(0, 2 * np.pi, number, endpoint=False)
    points = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    points = points * radii * random.uniform(0.5, 1, (number, 1))
    points = points + random.uniform(0, (width, height))
    return np.clip(points, 0, (width, height)).round(2).ravel().tolist()


def make_scenes(plain_masks, random, largest, number):
    """Cropped masks, grids, planes and boxes of images about 800 x 1333."""
    coding = pytest.importorskip("pycocotools.mask")
    from keras_epsanet.data.coco.masks import crop_objects, encode

    for i in range(number):
        original = [(480, 640), (640, 427), (300, 500)][i % 3]
        scale = min(800 / min(original), 1333 / max(original))
        size = tuple(int(side * scale + 0.5) for side in original)
        padded = tuple(-(-side // 32) * 32 for side in size)
        flip = i % 2 == 0
        outlines = [[make_outline(random, original, largest)] for _ in "abcd"]
        cropped = crop_objects(outlines, original, size, padded, flip, 5)
        planes = [
            plain_masks.resized_plane(
                coding.decode(encode(x, *original)),
                size,
                padded,
                flip,
            )
            for x in outlines
        ]
        yield *cropped, planes, make_boxes(random, planes, size)


def make_boxes(random, planes, size):
    """Around every object in a plane, more and more beside it."""
    boxes = []
    for plane in planes:
        rows, columns = np.nonzero(plane)
        exact = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        sides = np.tile(np.subtract(exact[2:], exact[:2]), 2)
        noise = random.normal(size=(BOXES, 4)) * sides
        boxes.append(exact + noise * np.linspace(0, 0.2, BOXES)[:, None])
    corners = np.reshape(boxes, (-1, 2, 2))
    corners = np.stack((corners.min(1), corners.max(1) + 1), axis=1)
    corners = np.clip(corners, 0, size[::-1])
    return corners.reshape(-1, 4).astype("float32")


@pytest.mark.parametrize("largest, allowed", [(110, 0), (500, 1e-3)])
def test_targets_are_those_of_mmdetection(plain_masks, largest, allowed):
    random = np.random.default_rng(0)
    differ, cells = 0, 0
    scenes = make_scenes(plain_masks, random, largest, 6)
    for masks, grids, planes, boxes in scenes:
        objects = np.arange(len(planes)).repeat(BOXES)
        found = crop(masks, objects, boxes, grids)
        for i, box, target in zip(objects, boxes, found):
            # Up to rounding, where half of a cell is covered.
            value = plain_masks.align(planes[i], box)
            wrong = target != (value >= 0.5 - 1e-6)
            differ, cells = differ + wrong.sum(), cells + wrong.size
    assert cells == 6 * 4 * BOXES * SIZE**2
    assert differ <= allowed * cells


def test_targets_of_planes_are_those_of_mmdetection(plain_masks):
    random = np.random.default_rng(1)
    planes = np.zeros((2, 90, 150), "uint8")
    planes[0, 10:70, 20:110] = random.integers(2, size=(60, 90))
    planes[1, 30:, 60:] = planes[1, :3, :3] = 1
    boxes = np.array(
        [
            [20, 10, 110, 70],
            [3.2, 5.7, 149.9, 40.1],
            [50, 50, 60.5, 57],
            [100, 20, 150, 90],
            # In the corners of the image, where samples are clamped.
            [0, 0, 2, 2],
            [148, 88, 150, 90],
            # Partly outside, further than samples count.
            [60, 40, 180, 120],
            # Of less than a pixel.
            [60.2, 30.1, 60.8, 30.9],
            [25.9, 40.3, 26.2, 66.1],
        ],
        "float32",
    )
    objects = [0, 0, 0, 1, 1, 1, 1, 0, 0]
    found = crop(planes, objects, boxes)
    for i, box, target in zip(objects, boxes, found):
        value = plain_masks.align(planes[i], box)
        np.testing.assert_array_equal(target, value >= 0.5 - 1e-6)


def test_samples_outside_are_0_for_cropped_masks_too(plain_masks):
    pytest.importorskip("pycocotools")
    from keras_epsanet.data.coco.masks import crop_objects

    mask = [[0, 0, 60, 0, 60, 40, 0, 40]]
    masks, grids = crop_objects([mask], (40, 60), (40, 60), (40, 60), False, 1)
    box = np.array([[-30, -28, 90, 68]], "float32")
    value = plain_masks.align(np.ones((40, 60)), box[0])
    np.testing.assert_array_equal(crop(masks, [0], box, grids)[0], value >= 0.5)


def test_exactly_half_of_a_cell_is_enough():
    plane = np.zeros((1, 8, 8), "uint8")
    plane[0, :3] = 1
    whole = np.array([[0, 0, 8, 8]], "float32")
    # The second row of cells has two rows of pixels, one of the mask.
    found = crop(plane, [0], whole, size=4)[0]
    np.testing.assert_array_equal(found, [4 * [1], 4 * [1], 4 * [0], 4 * [0]])


def test_every_image_has_its_own_objects():
    masks = np.zeros((2, 3, 28, 56), "uint8")
    masks[0, 1, :, :28] = masks[1, 2, 14:] = 1
    boxes = np.tile(np.array([0, 0, 56, 28], "float32"), (2, 3, 1))
    objects = np.array([[1, 0, 1], [0, 2, 1]], "int32")
    arrays = map(ops.convert_to_tensor, (masks, objects, boxes))
    found = ops.convert_to_numpy(crop_masks(*arrays, SIZE))
    left, lower = np.zeros((2, SIZE, SIZE))
    left[:, :14] = lower[14:] = 1
    nothing = np.zeros((SIZE, SIZE))
    expected = [[left, nothing, left], [nothing, lower, nothing]]
    np.testing.assert_array_equal(found, expected)


def test_unfolded_masks_are_the_resized_planes(plain_masks):
    scenes = make_scenes(plain_masks, np.random.default_rng(2), 110, 2)
    for masks, grids, planes, _ in scenes:
        unfolded = unfold_masks(masks, grids, *planes[0].shape)
        np.testing.assert_array_equal(unfolded[:4], planes)
        assert not unfolded[4].any()


def test_cells_that_are_covered_by_half_are_drawn():
    # A half is written down as 128 of 255.
    masks = np.array([[[127, 128], [129, 0]]], "uint8")
    edges = np.array([[[0, 2, 4], [0, 1, 2]]])
    unfolded = unfold_masks(masks, edges, 4, 3)
    rows = [[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert unfolded.tolist() == [rows]


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="compiles nothing"
)
@pytest.mark.parametrize("cropped", [False, True])
def test_targets_are_compiled(plain_masks, cropped):
    scenes = make_scenes(plain_masks, np.random.default_rng(3), 110, 1)
    ((masks, grids, planes, boxes),) = scenes
    if not cropped:
        planes = [plane[:64, :96] for plane in planes]
        boxes = np.minimum(boxes, 60)
    masks, grids = (masks, grids) if cropped else (np.array(planes), None)
    objects = np.arange(len(planes)).repeat(BOXES).astype("int32")
    expected = crop(masks, objects, boxes, grids)
    arrays = [x[None] for x in (masks, objects, boxes)]
    if cropped:
        arrays.append(grids[None])

    def compute(masks, objects, boxes, grids=None):
        return crop_masks(masks, objects, boxes, SIZE, grids)

    if keras.backend.backend() == "jax":
        import jax

        found = jax.jit(compute)(*arrays)
    else:
        import tensorflow as tf

        signature = [
            tf.TensorSpec([None] * np.ndim(x), x.dtype) for x in arrays[:3]
        ]
        if cropped:
            shape = (None, None, 2, None)
            signature.append(tf.TensorSpec(shape, "float32"))
        found = tf.function(compute, input_signature=signature)(*arrays)
    np.testing.assert_array_equal(found[0], expected)
