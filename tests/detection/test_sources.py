import keras
import pytest

from keras_epsanet.data import scenes
from keras_epsanet.detection import sources

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


def test_a_folder_of_coco_is_opened_with_its_year(tmp_path):
    scenes.write(tmp_path / "coco", 2, 1, image_size=64)
    for split in ("train", "val"):
        (tmp_path / "coco" / split).rename(tmp_path / f"coco/{split}2017")
        file = tmp_path / f"coco/annotations/instances_{split}.json"
        file.rename(file.with_stem(f"instances_{split}2017"))
    found = sources.open_annotations(f"{tmp_path}/coco")
    assert [len(found[x].images) for x in ("train", "val")] == [2, 1]


def test_nothing_to_evaluate_with_is_an_error(tmp_path):
    scenes.write(tmp_path / "coco", 2, 0, image_size=64)
    with pytest.raises(ValueError, match=f"Received: {tmp_path}/coco, without"):
        sources.open_annotations(f"{tmp_path}/coco")
