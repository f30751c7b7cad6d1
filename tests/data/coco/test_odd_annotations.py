"""Odd annotation files end in a report or in an error that names them."""

import pathlib
import sys
import warnings

import keras
import pytest

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from odd_annotations import FILES, READ

from keras_epsanet.data import coco
from keras_epsanet.detection import evaluate_coco


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_coco_images):
    folder = tmp_path_factory.mktemp("odd")
    write_coco_images(folder)
    return folder


def read_all(path, folder):
    """Reads a file as a training and an evaluation do, masks included."""
    annotations = coco.Annotations(path, folder)
    number = 0
    for masks in (False, True):
        for training in (True, False):
            batches = coco.load(
                annotations,
                1,
                training=training,
                image_size=(40, 64),
                masks=masks,
                max_objects=9,
            )
            number += sum(1 for _ in batches.take(3))
    evaluate_coco(str(path), [], ("bbox", "segm"))
    return annotations, number


def test_there_are_more_than_a_hundred():
    assert len(FILES) > 100 and READ <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file_ends_in_a_report_or_a_clear_error(
    name, folder, coco_contents, tmp_path
):
    path = tmp_path / "odd.json"
    path.write_bytes(FILES[name](coco_contents))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if name in READ:
            annotations, number = read_all(path, folder)
            assert number == 12
        else:
            with pytest.raises(ValueError) as caught:
                read_all(path, folder)
            assert type(caught.value) is ValueError
    if name not in READ:
        message = str(caught.value)
        # The file, and which entry is meant.
        assert str(path) in message and "Received: " in message
        message.encode()  # It can be printed.
        return
    for reason, number in annotations.skipped.items():
        named = [str(x.message) for x in warned]
        assert any(f"{number} objects of {path}" in x for x in named), reason


@pytest.mark.parametrize(
    "name, entry",
    [
        ("one of the images is None", "images[1]=None"),
        ("one of the annotations is 'text'", "annotations[1]='text'"),
        ("categories are 7", "categories=7"),
        ("info only", "without images, annotations"),
        ("a list", "list without images"),
        ("huge width", "image 101 with width=1000000000"),
        ("image of an object as text", "annotation 2 .*image_id='100'"),
        ("box beyond all numbers", "annotation 2 of image 100 with bbox="),
        ("crowd of two", "annotation 2 of image 100 with iscrowd=2"),
        ("category id as a list", "annotation 2 .*category_id=[2]"),
        ("file name without a meaning", "image 101 .*'\\ud800.png'"),
        ("missing image file", "image 101, 'none.png'"),
        ("cut off", "JSON"),
        ("endless depth", "recursion"),
        ("no images", "0 images in "),
    ],
)
def test_the_entry_is_named(name, entry, folder, coco_contents, tmp_path):
    path = tmp_path / "odd.json"
    path.write_bytes(FILES[name](coco_contents))
    with pytest.raises(ValueError) as caught:
        read_all(path, folder)
    position = 0
    for part in entry.split(" .*"):
        position = str(caught.value).index(part, position)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("unknown image", "unknown image"),
        ("endless box", "box not finite"),
        ("negative size", "side of less than a pixel"),
        ("box outside", "outside of the image"),
        ("polygon of four numbers", "no mask"),
        ("polygon beyond all numbers", "no mask"),
    ],
)
def test_what_is_left_out_is_counted(
    name, reason, folder, coco_contents, tmp_path
):
    path = tmp_path / "odd.json"
    path.write_bytes(FILES[name](coco_contents))
    with pytest.warns(UserWarning, match=f"1 objects .*{reason}"):
        annotations, _ = read_all(path, folder)
    assert annotations.skipped == {reason: 1}
