import json
import os

import numpy as np
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco.from_tfds import write_from_tfds

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("pycocotools")

PARTS = {"train": "train2017", "validation": "val2017"}
# Top, left, bottom and right in pixels, class, crowd.
OBJECTS = [((10, 20, 40, 80), 1, False), ((0, 0, 30, 30), 0, True)]


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
        np.testing.assert_allclose(image.boxes, [[20, 10, 80, 40]], atol=0.01)
    batch = next(iter(coco.load(train, 2, image_size=(60, 100))))
    assert batch["images"].shape == (2, 64, 128, 3)
    with open(folder / "annotations/instances_val2017.json") as file:
        contents = json.load(file)
    assert [x["iscrowd"] for x in contents["annotations"]] == [0, 1]
    assert [x["area"] for x in contents["annotations"]] == [7, 7]


def test_an_existing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"Received: folder={tmp_path}"):
        write_from_tfds(tmp_path, "small_coco", data_dir=tmp_path)


def test_a_dataset_without_boxes_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Received: name=mnist"):
        write_from_tfds(tmp_path / "coco", "mnist", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())
