import os

import numpy as np
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco.annotations import name_some

pytest.importorskip("pycocotools")


def test_sparse_category_ids_come_back(coco_contents, coco_annotations):
    assert len(coco_annotations.category_ids) == 80
    for image, found in zip(coco_contents["images"], coco_annotations.images):
        assert (found.height, found.width) == (image["height"], image["width"])
        assert found.id == image["id"]
    labels = coco_annotations.images[1].labels
    ids = [coco_annotations.category_ids[i] for i in labels]
    # Of the eighth and the forty-eighth class.
    assert ids == [8, 53]
    assert coco_annotations.class_names[79] == "class 90"


def test_labels_go_by_the_ids_whatever_the_order_of_categories(
    coco_contents, open_coco, coco_annotations
):
    coco_contents["categories"].reverse()
    annotations = open_coco(coco_contents)
    assert annotations.category_ids == coco_annotations.category_ids
    assert annotations.class_names == coco_annotations.class_names
    for ours, theirs in zip(annotations.images, coco_annotations.images):
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_three_are_named():
    assert name_some([5]) == "5"
    assert name_some([5, 6, 7]) == "5, 6, 7"
    assert name_some([5, 6, 7, 8]) == "5, 6, 7, ..."


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"bbox": [5, 5, 0, 9]}, "side of less than a pixel"),
        ({"bbox": [5, 5, 9, 0.99]}, "side of less than a pixel"),
        ({"bbox": [5, 5, -3, 9]}, "side of less than a pixel"),
        ({"bbox": [60, 5, 9, 9]}, "outside of the image"),
        ({"bbox": [5, 40, 9, 9]}, "outside of the image"),
        ({"bbox": [-9, 5, 9, 9]}, "outside of the image"),
        ({"bbox": [5, float("nan"), 9, 9]}, "box not finite"),
        ({"image_id": 7}, "unknown image"),
    ],
)
def test_bad_objects_are_counted_and_named(
    coco_contents, open_coco, change, reason
):
    coco_contents["annotations"][1].update(change)
    with pytest.warns(UserWarning, match=f"{reason}.*annotations 2"):
        annotations = open_coco(coco_contents)
    assert annotations.skipped == {reason: 1}
    assert annotations.images[0].object_ids == [1]
    assert len(annotations.images[0].labels) == 1


@pytest.mark.parametrize(
    "box, corners",
    [
        # A pixel at each corner of an image of 40 x 60.
        ([0, 0, 1, 1], [0, 0, 1, 1]),
        ([59, 39, 1, 1], [59, 39, 60, 40]),
        ([-8.5, 5, 9, 9], [0, 5, 0.5, 14]),
        ([50, -3, 20, 50], [50, 0, 60, 40]),
        ([-5, -5, 100, 100], [0, 0, 60, 40]),
    ],
)
def test_boxes_are_clipped_to_the_image(coco_contents, open_coco, box, corners):
    coco_contents["annotations"][0]["bbox"] = box
    annotations = open_coco(coco_contents)
    assert annotations.skipped == {}
    np.testing.assert_array_equal(annotations.images[0].boxes[0], corners)


def test_crowds_are_no_targets(coco_contents, open_coco):
    coco_contents["annotations"][0]["iscrowd"] = 1
    del coco_contents["annotations"][2]["iscrowd"]
    annotations = open_coco(coco_contents)
    assert [len(x.labels) for x in annotations.images] == [1, 2, 0, 2, 2]
    assert annotations.skipped == {}


@pytest.mark.parametrize("segmentation", [None, [], [[10, 6, 30, 24]]])
def test_objects_without_a_mask_are_left_out_where_masks_are_wanted(
    coco_contents, open_coco, segmentation
):
    coco_contents["annotations"][0]["segmentation"] = segmentation
    # Of this object one outline is good.
    outlines = coco_contents["annotations"][1]["segmentation"]
    coco_contents["annotations"][1]["segmentation"] = [*outlines, [1, 2, 3, 4]]
    annotations = open_coco(coco_contents)
    assert annotations.skipped == {}
    with pytest.warns(UserWarning, match="1 objects .*no mask.*annotations 1"):
        images = annotations.images_with_masks
    assert annotations.skipped == {"no mask": 1}
    assert annotations.images_with_masks is images
    assert [len(x.labels) for x in images] == [1, 2, 0, 2, 2]
    assert images[0].object_ids == [2]
    assert images[0].segmentations == annotations.images[0].segmentations[1:]
    np.testing.assert_array_equal(
        images[0].labels, annotations.images[0].labels[1:]
    )
    np.testing.assert_array_equal(
        images[0].boxes, annotations.images[0].boxes[1:]
    )
    assert len(annotations.images[0].labels) == 2


def test_data_without_masks_are_refused_where_masks_are_wanted(
    coco_contents, open_coco
):
    for annotation in coco_contents["annotations"]:
        del annotation["segmentation"]
    annotations = open_coco(coco_contents)
    with pytest.raises(ValueError, match="8 objects none"):
        _ = annotations.images_with_masks


@pytest.mark.parametrize(
    "kind, name, words",
    [
        ("images", "file_name", "image 101 without file_name"),
        ("categories", "name", "category 2 without name"),
    ],
)
def test_names_are_needed(coco_contents, open_coco, kind, name, words):
    del coco_contents[kind][1][name]
    with pytest.raises(ValueError, match=words):
        open_coco(coco_contents)


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", 7])
def test_names_are_text(coco_contents, open_coco, name):
    coco_contents["images"][1]["file_name"] = name
    with pytest.raises(ValueError, match="image 101 with file_name="):
        open_coco(coco_contents)


@pytest.mark.parametrize("name", ["9.png", "none/9.png"])
def test_a_missing_image_is_named_before_work_starts(
    coco_contents, open_coco, name
):
    coco_contents["images"].append(
        {"id": 9, "file_name": name, "height": 9, "width": 9}
    )
    with pytest.raises(ValueError, match=f"1 of 6.*image 9, '{name}'"):
        open_coco(coco_contents)


def test_annotations_and_images_are_read_from_a_storage(
    coco_annotations, tmp_path
):
    tf = pytest.importorskip("tensorflow")
    remote = f"ram://test_annotations/{tmp_path.name}"
    tf.io.gfile.makedirs(remote)
    files = [coco_annotations.path, *(x.path for x in coco_annotations.images)]
    for file in files:
        tf.io.gfile.copy(file, f"{remote}/{os.path.basename(file)}")
    path = f"{remote}/{os.path.basename(files[0])}"
    annotations = coco.Annotations(path, remote)
    ours, theirs = (
        next(iter(coco.load(x, 2, image_size=(64, 64))))
        for x in (annotations, coco_annotations)
    )
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    assert not annotations.bad
    tf.io.gfile.remove(annotations.images[1].path)
    with pytest.raises(
        ValueError, match="without 1 of 5, the first is image 101, .1.png"
    ):
        coco.Annotations(path, remote)
    with pytest.raises(ValueError, match="No such file|not find.* Received: "):
        coco.Annotations(f"{remote}/none.json", remote)
