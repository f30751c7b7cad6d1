"""A small COCO data set for the tests of what reads it."""

import json

import numpy as np
import PIL.Image
import pytest

# COCO's ids of 80 classes lie between 1 and 90.
IDS = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
SIZES = [(40, 60), (50, 50), (64, 32), (48, 80), (30, 90)]
OUTLINE = [10, 6, 30, 8, 26, 24, 12, 20]


def make_coco_contents():
    """Five images; two objects are in all but the third."""
    images = [
        {"id": 100 + i, "file_name": f"{i}.png", "height": h, "width": w}
        for i, (h, w) in enumerate(SIZES)
    ]
    annotations = [
        {
            "id": 10 * i + j + 1,
            "image_id": 100 + i,
            "category_id": IDS[7 * i + 40 * j],
            "iscrowd": 0,
            "bbox": [10, 6, 20, 18],
            "area": 250,
            "segmentation": [OUTLINE],
        }
        for i in (0, 1, 3, 4)
        for j in (0, 1)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": f"class {n}"} for n in IDS],
    }


def write_images(folder):
    """Writes the images, white where the boxes are."""
    for image in make_coco_contents()["images"]:
        pixels = np.zeros((image["height"], image["width"], 3), "uint8")
        pixels[6:24, 10:30] = 255
        PIL.Image.fromarray(pixels).save(folder / image["file_name"])


@pytest.fixture(scope="session")
def write_coco_images():
    """Function that writes the images into a folder."""
    return write_images


def open_coco_contents(folder, contents):
    """Writes contents and images, and opens them."""
    from keras_epsanet.data import coco

    write_images(folder)
    path = folder / "annotations.json"
    path.write_text(json.dumps(contents))
    return coco.Annotations(path, folder)


@pytest.fixture
def coco_contents():
    """What the annotation file holds, for a test to change."""
    return make_coco_contents()


@pytest.fixture
def open_coco(tmp_path):
    """Function from contents to `Annotations` in the test's folder."""
    return lambda contents: open_coco_contents(tmp_path, contents)


@pytest.fixture(scope="session")
def coco_annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    return open_coco_contents(folder, make_coco_contents())
