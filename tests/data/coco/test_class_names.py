from keras_epsanet.data.coco.class_names import COCO_CLASSES
from keras_epsanet.detection.ap_table import is_coco


def test_there_are_80_in_coco_s_order():
    assert len(set(COCO_CLASSES)) == 80 and is_coco(COCO_CLASSES)
    # Ids 1, 3, 13, 37, 62, 72 and 90 of the categories, which have gaps.
    wanted = {
        0: "person",
        2: "car",
        11: "stop sign",
        32: "sports ball",
        56: "chair",
        62: "tv",
        79: "toothbrush",
    }
    assert {i: COCO_CLASSES[i] for i in wanted} == wanted
    assert all(name == name.strip().lower() for name in COCO_CLASSES)
