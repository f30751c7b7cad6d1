from keras_epsanet.data.coco.class_names import COCO_CLASSES, COCO_IDS
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


def test_ids_have_gaps():
    assert len(set(COCO_IDS)) == 80 and list(COCO_IDS) == sorted(COCO_IDS)
    ids = dict(zip(COCO_CLASSES, COCO_IDS))
    # On both sides of every gap.
    wanted = {
        "stop sign": 13,
        "fire hydrant": 11,
        "zebra": 24,
        "giraffe": 25,
        "backpack": 27,
        "umbrella": 28,
        "handbag": 31,
        "bottle": 44,
        "wine glass": 46,
        "cake": 61,
        "chair": 62,
        "potted plant": 64,
        "bed": 65,
        "dining table": 67,
        "toilet": 70,
        "tv": 72,
        "refrigerator": 82,
        "book": 84,
        "toothbrush": 90,
    }
    assert {name: ids[name] for name in wanted} == wanted
