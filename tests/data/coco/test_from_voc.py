import json

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco import part_files
from keras_epsanet.data.coco.from_voc import is_voc, read_voc

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

OBJECT = """<object><name>{0}</name><difficult>{1}</difficult><bndbox>
<xmin>{2}</xmin><ymin>{3}</ymin><xmax>{4}</xmax><ymax>{5}</ymax>
</bndbox></object>"""
SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def write(
    folder,
    name,
    objects,
    where="Annotations",
    images="JPEGImages",
    size=SIZE,
    ending=".jpg",
    file_name=None,
):
    for inner in (where, images):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((40, 60, 3), "uint8")
    PIL.Image.fromarray(pixels).save(folder / images / f"{name}{ending}")
    named = f"{name}{ending}" if file_name is None else file_name
    text = "".join(OBJECT.format(*x) for x in objects)
    (folder / where / f"{name}.xml").write_text(
        f"<annotation><filename>{named}</filename>{size}{text}</annotation>"
    )


@pytest.fixture
def folder(tmp_path):
    """Three images, one of which is to evaluate with."""
    write(
        tmp_path, "a", [("hund", 0, 1, 1, 60, 40), ("Äpfel", 1, 11, 6, 30, 24)]
    )
    write(tmp_path, "b", [("cat", 0, 2.5, 3, 10, 9)])
    write(tmp_path, "c", [])
    sets = tmp_path / "ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a\nc\n")
    (sets / "val.txt").write_text("b\n")
    return tmp_path


def test_boxes_are_those_of_pixels_from_1_to_the_last(folder):
    parts = read_voc(folder)
    assert set(parts) == {"train", "val", "all"}
    train = parts["train"]
    names = {x["id"]: x["name"] for x in train["categories"]}
    assert list(names.values()) == ["cat", "hund", "Äpfel"]
    assert parts["val"]["categories"] == train["categories"]
    whole, apples = train["annotations"]
    assert whole["bbox"] == [0, 0, 60, 40] and whole["iscrowd"] == 0
    assert whole["area"] == 2400 and whole["image_id"] == 1
    assert [x["id"] for x in train["annotations"]] == [1, 2]
    assert [x["id"] for x in train["categories"]] == [1, 2, 3]
    assert [x["id"] for x in train["images"]] == [1, 3]
    assert names[whole["category_id"]] == "hund"
    # Difficult ones are neither learned nor counted.
    assert apples["bbox"] == [10, 5, 20, 19] and apples["iscrowd"] == 1
    assert parts["val"]["annotations"][0]["bbox"] == [1.5, 2, 8.5, 7]


def test_what_is_written_is_read_as_coco(folder, tmp_path):
    path = tmp_path / "train.json"
    coco.write_from_voc(path, folder, "train")
    annotations = coco.Annotations(path, folder)
    assert [len(x.labels) for x in annotations.images] == [1, 0]
    assert annotations.images[0].boxes.tolist() == [[0, 0, 60, 40]]
    batches = coco.load(annotations, 1, image_size=(40, 60))
    assert sum(1 for _ in batches) == 2 and annotations.bad == []
    with pytest.raises(ValueError, match="train, val, all, or None"):
        coco.write_from_voc(path, folder, "x")


def test_each_part_is_written_by_default(folder, tmp_path):
    paths = coco.write_from_voc(tmp_path / "my.json", folder)
    assert paths == [str(tmp_path / f"my_{x}.json") for x in ("train", "val")]
    numbers = [len(coco.Annotations(x, folder).images) for x in paths]
    assert numbers == [2, 1]


@pytest.mark.parametrize(
    "options",
    [
        {"where": "", "images": ""},
        {"images": "images", "ending": ".PNG"},
        {"file_name": "C:\\pictures\\a.jpg"},
        {"file_name": "other.jpg"},
        {"size": ""},
        {"size": SIZE.replace("60", "0")},
        {"size": SIZE.replace("60", "60.5")},
        {"size": SIZE.replace("60", " 60 ")},
        {"file_name": "", "ending": ".PNG"},
    ],
)
def test_other_programs_folders_are_read_too(tmp_path, options):
    write(tmp_path, "a", [("fig", 0, 1, 1, 9, 9)], **options)
    assert is_voc(tmp_path)
    (image,) = read_voc(tmp_path)["all"]["images"]
    assert (image["width"], image["height"]) == (60, 40)
    assert (tmp_path / image["file_name"]).is_file()


@pytest.mark.parametrize(
    "text, message",
    [
        ("<annotation>", "Annotations/b.xml cannot be read as XML"),
        ("", "Annotations/b.xml cannot be read as XML"),
        (
            "<annotation><object><name>x</name></object></annotation>",
            "object 1 in .*b.xml",
        ),
        (
            f"<annotation>{OBJECT.format('', 0, 1, 2, 3, 4)}</annotation>",
            "object 1 in .*b.xml",
        ),
        (
            f"<annotation>{OBJECT.format('x', 0, 'a', 2, 3, 4)}</annotation>",
            "object 1 in .*b.xml",
        ),
    ],
)
def test_mistakes_are_named_with_their_file(folder, text, message):
    (folder / "Annotations/b.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_voc(folder)


def test_what_is_missing_is_named(folder, tmp_path):
    (folder / "JPEGImages/b.jpg").unlink()
    with pytest.raises(ValueError, match="b.xml, whose image is nowhere"):
        read_voc(folder)
    (folder / "Annotations/b.xml").unlink()
    with pytest.raises(ValueError, match="val.txt with b, which has none"):
        read_voc(folder)
    (tmp_path / "empty").mkdir()
    assert not is_voc(tmp_path / "empty")
    with pytest.raises(ValueError, match="Received: folder=.*empty"):
        read_voc(tmp_path / "empty")


def test_contents_can_be_written_as_json(folder):
    assert json.loads(json.dumps(read_voc(folder))) == read_voc(folder)


def test_blanks_mean_nothing(tmp_path):
    write(tmp_path, "a", [(" fig ", " 1 ", " 1", "1 ", 9, 9)])
    sets = tmp_path / "ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "test.txt").write_text("a  \n\n")
    contents = read_voc(tmp_path)["test"]
    (entry,) = contents["annotations"]
    assert entry["iscrowd"] == 1 and entry["bbox"] == [0, 0, 9, 9]
    assert contents["categories"] == [{"id": 1, "name": "fig"}]


def test_the_file_is_written_as_a_whole(folder, monkeypatch):
    written = {}
    monkeypatch.setattr(part_files, "write_file", written.__setitem__)
    coco.write_from_voc("a.json", folder, "val")
    assert json.loads(written["a.json"]) == read_voc(folder)["val"]


def test_hidden_files_are_left_out(folder):
    """As macOS leaves them on other systems' disks."""
    (folder / "Annotations/._a.xml").write_bytes(b"\0\5\x16\7\xff")
    assert len(read_voc(folder)["all"]["images"]) == 3


def test_a_hidden_file_makes_no_such_folder(tmp_path):
    (tmp_path / "._a.xml").write_bytes(b"\0\5\x16\7\xff")
    assert not is_voc(tmp_path)


def test_a_list_that_is_no_utf8_is_named(folder):
    path = folder / "ImageSets/Main/train.txt"
    path.write_text("a\n", encoding="utf-16")
    with pytest.raises(ValueError, match="must be UTF-8") as caught:
        read_voc(folder)
    assert str(caught.value).endswith(f"Received: {path}")


def test_a_list_may_begin_with_a_mark(folder):
    path = folder / "ImageSets/Main/train.txt"
    path.write_text("a\n", encoding="utf-8-sig")
    assert len(read_voc(folder)["train"]["images"]) == 1


def test_an_image_that_is_listed_twice_is_read_once(folder, tmp_path):
    (folder / "ImageSets/Main/train.txt").write_text("c\na\nc\n")
    coco.write_from_voc(tmp_path / "a.json", folder, "train")
    images = coco.Annotations(tmp_path / "a.json", folder).images
    assert [x.id for x in images] == [3, 1]
