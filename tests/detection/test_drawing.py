import sys

import keras
import numpy as np
import pytest

from keras_epsanet import preprocess_input
from keras_epsanet.detection import draw, draw_beside, drawing

pytest.importorskip("matplotlib")


def read(path):
    import matplotlib.image

    return np.round(255 * matplotlib.image.imread(path)[..., :3]).astype(int)


def extent(picture, background):
    """First and last row and column that are not background."""
    other = (np.abs(picture - background) > 8).any(-1)
    rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize(
    "bounding_box_format, box",
    [
        ("xyxy", [200, 100, 500, 400]),
        ("xywh", [200, 100, 300, 300]),
        ("yxyx", [100, 200, 400, 500]),
        ("rel_xyxy", [200 / 640, 100 / 480, 500 / 640, 400 / 480]),
    ],
)
def test_box_is_where_it_belongs(tmp_path, bounding_box_format, box):
    image = np.full((480, 640, 3), 200)
    draw(
        image,
        [box],
        path=tmp_path / "a.png",
        bounding_box_format=bounding_box_format,
    )
    picture = read(tmp_path / "a.png")
    assert picture.shape == image.shape
    # To half of the line's width and a pixel.
    np.testing.assert_allclose(
        extent(picture, 200), [200, 100, 500, 400], atol=2.1
    )
    # Not filled.
    assert (picture[110:390, 210:490] == 200).all()


def test_small_images_are_enlarged(tmp_path):
    image = np.full((64, 128, 3), 200)
    draw(image, [[32, 16, 96, 48]], path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert picture.shape == (320, 640, 3)
    np.testing.assert_allclose(
        extent(picture, 200), [160, 80, 480, 240], atol=2.1
    )


def captions(monkeypatch):
    """Records what is written on the picture."""
    import matplotlib.axes

    texts = []
    write = matplotlib.axes.Axes.text

    def record(self, x, y, text, **kwargs):
        texts.append(text)
        return write(self, x, y, text, **kwargs)

    monkeypatch.setattr(matplotlib.axes.Axes, "text", record)
    return texts


def test_classes_and_scores_are_written(tmp_path, monkeypatch):
    texts = captions(monkeypatch)
    image = np.zeros((64, 64, 3))
    boxes = np.array([[0, 0, 60, 60], [5, 5, 20, 20], [10, 10, 20, 60]])
    names = ["$hat$", "bag", "shoe"]
    path = tmp_path / "a.png"
    draw(image, boxes, [0, 1, 2], [0.5, 0.456, 0.2], names, path=path)
    assert sorted(texts) == ["$hat$ 0.50", "bag 0.46", "shoe 0.20"]
    texts.clear()
    draw(image, boxes, [0, 1, 2], path=path)
    assert sorted(texts) == ["0", "1", "2"]
    texts.clear()
    draw(image, boxes, path=path)
    assert texts == []


def test_small_objects_are_drawn_over_large_ones(tmp_path, monkeypatch):
    texts = captions(monkeypatch)
    boxes = [[8, 8, 16, 30], [0, 0, 60, 60], [8, 4, 40, 60], [20, 30, 30, 40]]
    draw(np.zeros((64, 64, 3)), boxes, [0, 1, 2, 3], path=tmp_path / "a.png")
    assert texts == ["1", "2", "0", "3"]


@pytest.mark.parametrize("top", [1, 7, 30])
def test_a_caption_is_whole_in_a_flat_picture_too(tmp_path, top):
    """Above its box or, where there is no room for all of it, inside."""
    image = np.full((120, 640, 3), 200)
    names = ["Ägypten"]
    path = tmp_path / "a.png"
    draw(image, [[50, top, 300, 110]], [0], class_names=names, path=path)
    lines = (np.abs(read(path) - 200) > 8).any(-1)[:, 60:90].all(axis=1)
    draw(image, [[50, 60, 300, 110]], [0], class_names=names, path=path)
    whole = (np.abs(read(path) - 200) > 8).any(-1)[:, 60:90].all(axis=1)
    # Rows of the caption and of the edges of the box.
    assert abs(lines.sum() - whole.sum()) <= 2


def test_padding_low_scores_and_infinite_boxes_are_left_out(
    tmp_path, monkeypatch
):
    texts = captions(monkeypatch)
    boxes = [
        [-1, -1, -1, -1],
        [1, 1, 9, 9],
        [2, 2, 30, 30],
        [3, 3, np.inf, 9],
        [4, 4, 40, 40],
    ]
    draw(
        np.zeros((64, 64, 3)),
        boxes,
        [0, -1, 2, 3, 4],
        [0.9, 0.9, 0.1, 0.9, 0.8],
        path=tmp_path / "a.png",
        min_score=0.3,
    )
    assert texts == ["4 0.80"]


def test_a_box_that_begins_outside_is_no_padding(tmp_path, monkeypatch):
    texts = captions(monkeypatch)
    boxes = [[-1, 4, 20, 30], [-1, -1, -1, -1], [5, -1, 30, 20]]
    draw(np.zeros((64, 64, 3)), boxes, [0, 1, 2], path=tmp_path / "a.png")
    assert sorted(texts) == ["0", "2"]


def test_what_has_exactly_the_least_score_is_drawn(tmp_path, monkeypatch):
    texts = captions(monkeypatch)
    below = np.nextafter(np.float32(0.25), np.float32(0))
    draw(
        np.zeros((64, 64, 3)),
        [[1, 1, 9, 9], [2, 2, 30, 30]],
        [0, 1],
        np.array([0.25, below], "float32"),
        ["at", "below"],
        path=tmp_path / "a.png",
        min_score=0.25,
    )
    assert texts == ["at 0.25"]


def test_masks_are_laid_over_the_image(tmp_path):
    mask = np.zeros((1, 480, 640))
    mask[0, 100:200, 300:400] = 1
    image = np.full((480, 640, 3), 255)
    draw(image, [[0, 0, 640, 480]], masks=mask, path=tmp_path / "a.png")
    inner = read(tmp_path / "a.png")[20:460, 20:620]
    assert extent(inner, 255) == [280, 80, 380, 180]


def test_cropped_masks_of_the_truth_are_drawn_as_planes_are(tmp_path):
    pytest.importorskip("pycocotools")
    from keras_epsanet.data.coco.masks import crop_objects

    plane = np.zeros((1, 96, 128), "uint8")
    plane[0, 10:70, 20:50] = plane[0, 40:70, 50:110] = 1
    outline = [20, 10, 50, 10, 50, 40, 110, 40, 110, 70, 20, 70]
    size = plane.shape[1:]
    masks, grids = crop_objects([[outline]], size, size, size, False, 1)
    batch = {
        "images": np.zeros((1, *size, 3)),
        "boxes": [[[20, 10, 110, 70]]],
        "labels": [[0]],
    }
    nothing = {"boxes": [[]], "labels": [[]], "confidence": [[]]}
    pictures = []
    for more in (
        {"masks": plane[None]},
        {"masks": masks[None], "mask_grids": grids[None]},
        {},
    ):
        path = tmp_path / "both.png"
        draw_beside({**batch, **more}, nothing, path=path)
        pictures.append(read(path))
    planes, cropped, none = pictures
    np.testing.assert_array_equal(cropped, planes)
    assert (none != planes).any()


def test_masks_that_are_predicted_fill_their_boxes(tmp_path):
    """Of 28 x 28 pixels; with a label beyond the last color."""
    image = np.full((480, 640, 3), 255)
    box = [[100, 50, 300, 250]]
    masks = np.ones((1, 28, 28)) * np.linspace(1, 0.01, 28)
    draw(image, box, [25], masks=masks, path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    middle = picture[100:240, 105:295]
    filled = (middle < 250).any(-1).mean(axis=0)
    assert (filled[:90] == 1).all() and (filled[100:] == 0).all()


def test_pixels_are_rounded_and_kept_in_range(tmp_path):
    image = np.full((480, 640, 3), 199.6)
    image[:100], image[100:200] = 300, -20
    draw(image, np.zeros((0, 4)), path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert (picture[50] == 255).all() and (picture[150] == 0).all()
    assert (picture[300] == 200).all()


def test_captions_begin_inside_the_picture(tmp_path, monkeypatch):
    import matplotlib.axes

    places = []
    write = matplotlib.axes.Axes.text

    def record(self, x, y, *args, **kwargs):
        places.append((x, y))
        return write(self, x, y, *args, **kwargs)

    monkeypatch.setattr(matplotlib.axes.Axes, "text", record)
    boxes = [[-20, -30, 90, 90], [130, 99, 140, 110], [8, 9, 20, 30]]
    draw(np.zeros((96, 128, 3)), boxes, [0, 1, 2], path=tmp_path / "a.png")
    assert places == [(0, 0), (8, 9), (128, 96)]


def make_batch(number):
    """Padded images with one object each, of which two are predicted."""
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (number, 1, 64, 96))
    batch = {
        "images": np.zeros((number, 64, 96, 3)),
        "boxes": np.tile([[8.0, 8, 40, 50]], (number, 1, 1)),
        "labels": np.arange(number)[:, None],
        "masks": masks,
        "image_size": np.tile([[60, 80]], (number, 1)),
    }
    found = {
        "boxes": np.tile([[9.0, 8, 40, 60], [1, 1, 9, 9]], (number, 1, 1)),
        "labels": np.tile([7, 8], (number, 1)),
        "confidence": np.tile([0.3, 0.29], (number, 1)),
    }
    return batch, found


def test_by_default_four_images_and_scores_from_0_3_are_drawn(
    tmp_path, monkeypatch
):
    texts = captions(monkeypatch)
    batch, found = make_batch(5)
    draw_beside(batch, found, path=tmp_path / "both.png")
    expected = [(str(i), "7 0.30") for i in range(4)]
    assert texts == [text for pair in expected for text in pair]


def test_each_image_has_its_own_masks_and_no_padding(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "_draw", lambda *x: seen.append(x))
    batch, found = make_batch(3)
    draw_beside(batch, found, path=tmp_path / "both.png")
    assert len(seen) == 6
    for i, (_, _, objects, _) in enumerate(seen[::2]):
        ((_, label, _, mask),) = objects
        assert label == i
        np.testing.assert_array_equal(mask, batch["masks"][i, 0])
    for axes, *_ in seen:
        assert axes.get_xlim() == (0, 80) and axes.get_ylim() == (60, 0)


@pytest.mark.parametrize("beside", [False, True])
def test_a_picture_takes_the_place_of_a_former_one_when_it_is_whole(
    tmp_path, monkeypatch, beside
):
    import matplotlib.figure

    def fail(self, path, **options):
        with open(path, "w") as file:
            file.write("half of it")
        raise OSError("no space")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    path = tmp_path / "a.png"
    path.write_text("former")
    with pytest.raises(OSError, match="no space"):
        if beside:
            draw_beside(*make_batch(1), path=path)
        else:
            draw(np.zeros((8, 8, 3)), np.zeros((0, 4)), path=path)
    assert path.read_text() == "former"


def test_an_image_without_objects_is_drawn(tmp_path):
    path = tmp_path / "a.png"
    draw(np.zeros((480, 640, 3)), np.zeros((0, 4)), [], [], path=path)
    assert (read(path) == 0).all()


@pytest.mark.parametrize("key", ["labels", "classes"])
def test_predictions_stand_beside_the_truth(tmp_path, monkeypatch, key):
    texts = captions(monkeypatch)
    images = np.full((3, 96, 128, 3), 128.0)
    images[1] = 30.0
    batch = {
        "images": keras.ops.convert_to_tensor(preprocess_input(images)),
        "boxes": np.array([[[10, 10, 50, 50], [-1] * 4]] * 3, "float32"),
        "labels": np.array([[1, -1]] * 3),
        "image_size": np.array([[96, 128], [64, 96], [96, 128]]),
    }
    predictions = {
        "boxes": np.array([[[12, 10, 50, 50], [0, 0, 9, 9], [-1] * 4]] * 3),
        key: np.array([[0, 1, -1]] * 3),
        "confidence": np.array([[0.75, 0.1, -1]] * 3),
        "num_detections": np.array([2] * 3),
    }
    path = tmp_path / "both.png"
    draw_beside(batch, predictions, ["hat", "bag"], path=path, max_images=2)
    assert texts == ["bag", "hat 0.75"] * 2
    picture = read(path)
    height, width = picture.shape[:2]
    assert width == 1280 and height > 960
    # The images have their own colors again.
    for y, value in ((0.3, 128), (0.8, 30)):
        for x in (0.35, 0.85):
            pixel = picture[int(y * height), int(x * width)]
            np.testing.assert_allclose(pixel, value, atol=1)


@pytest.mark.parametrize("name", ["labels", "scores", "masks"])
def test_other_numbers_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"Received: 3 {name}, 2 boxes"):
        draw(
            np.zeros((8, 8, 3)),
            np.zeros((2, 4)),
            path=tmp_path / "a.png",
            **{name: np.zeros((3, 8, 8))},
        )


def test_an_empty_batch_is_refused(tmp_path):
    batch = {"images": np.zeros((0, 8, 8, 3))}
    with pytest.raises(ValueError, match="Received: 0 images"):
        draw_beside(batch, {}, path=tmp_path / "a.png")


def test_missing_matplotlib_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        draw(np.zeros((8, 8, 3)), np.zeros((0, 4)), path=tmp_path / "a.png")
