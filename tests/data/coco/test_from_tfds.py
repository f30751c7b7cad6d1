import json
import os

import numpy as np
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco import from_tfds
from keras_epsanet.data.coco.from_tfds import write_from_tfds

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("pycocotools")

PARTS = {"train": "train2017", "validation": "val2017"}
# Top, left, bottom and right in pixels, class, crowd.
OBJECTS = [((10.25, 20.5, 40, 80.75), 1, False), ((0, 0, 30, 30), 0, True)]


class SmallCoco(tfds.core.GeneratorBasedBuilder):
    """The features of coco/2017, three images of 60x100 pixels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        objects = {
            "id": np.int64,
            "area": np.int64,
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_crowd": np.bool_,
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "image/filename": tfds.features.Text(),
                    "image/id": np.int64,
                    "objects": tfds.features.Sequence(objects),
                }
            )
        )

    def _split_generators(self, manager):
        return {
            "train": self._generate_examples(2),
            "validation": self._generate_examples(1),
        }

    def _generate_examples(self, number):
        for i in range(number):
            objects = [
                {
                    "id": 10 * i + j + 1,
                    "area": 7,
                    "bbox": tfds.features.BBox(
                        top / 60, left / 100, bottom / 60, right / 100
                    ),
                    "label": label,
                    "is_crowd": crowd,
                }
                for j, ((top, left, bottom, right), label, crowd) in enumerate(
                    OBJECTS
                )
            ]
            yield (
                i,
                {
                    "image": np.full((60, 100, 3), 40 * i, "uint8"),
                    "image/filename": f"{i + 5:012}.jpg",
                    "image/id": i + 5,
                    "objects": objects,
                },
            )


def test_the_folder_is_read_as_coco(tmp_path):
    folder = tmp_path / "coco"
    write_from_tfds(folder, "small_coco", data_dir=tmp_path / "tfds")
    assert sorted(os.listdir(folder)) == ["annotations", *PARTS.values()]
    annotations = {
        part: coco.Annotations(
            folder / f"annotations/instances_{part}.json", folder / part
        )
        for part in PARTS.values()
    }
    train = annotations["train2017"]
    assert train.class_names == ["cat", "dog"] and not train.skipped
    assert sorted(image.id for image in train.images) == [5, 6]
    assert len(annotations["val2017"].images) == 1
    for image in train.images:
        assert (image.height, image.width) == (60, 100)
        np.testing.assert_array_equal(image.labels, [1])  # Without the crowd.
        np.testing.assert_allclose(
            image.boxes, [[20.5, 10.25, 80.75, 40]], atol=0.02
        )
    batch = next(iter(coco.load(train, 2, image_size=(60, 100))))
    assert batch["images"].shape == (2, 64, 128, 3)
    with open(folder / "annotations/instances_val2017.json") as file:
        contents = json.load(file)
    assert [x["iscrowd"] for x in contents["annotations"]] == [0, 1]
    assert [x["area"] for x in contents["annotations"]] == [7, 7]
    assert [x["category_id"] for x in contents["annotations"]] == [2, 1]
    assert contents["categories"] == [
        {"id": 1, "name": "cat"},
        {"id": 2, "name": "dog"},
    ]
    assert contents["images"][0]["file_name"] == "000000000005.jpg"
    with open(folder / "annotations/instances_train2017.json") as file:
        entries = json.load(file)["annotations"]
    ids = {(x["image_id"], x["id"]) for x in entries}
    assert ids == {(5, 1), (5, 2), (6, 11), (6, 12)}
    # To hundredths of a pixel.
    assert all(x == round(x, 2) for entry in entries for x in entry["bbox"])


def test_parts_may_be_chosen_and_named(tmp_path):
    write_from_tfds(
        tmp_path / "coco",
        "small_coco",
        data_dir=tmp_path / "tfds",
        parts={"validation": "val"},
    )
    assert sorted(os.listdir(tmp_path / "coco")) == ["annotations", "val"]


def test_a_failure_leaves_no_folder(tmp_path, monkeypatch):
    written = []

    def fail(folder, *others):
        written.append(folder)
        raise OSError("no space")

    monkeypatch.setattr(from_tfds, "_write_part", fail)
    with pytest.raises(OSError, match="no space"):
        write_from_tfds(tmp_path / "coco", "small_coco", tmp_path / "tfds")
    assert written != [str(tmp_path / "coco")]
    assert os.listdir(tmp_path) == ["tfds"]


def test_an_existing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"Received: folder={tmp_path}"):
        write_from_tfds(tmp_path, "small_coco", data_dir=tmp_path)


def test_a_dataset_without_boxes_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Received: name=mnist"):
        write_from_tfds(tmp_path / "coco", "mnist", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())
