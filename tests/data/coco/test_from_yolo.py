import json

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data import coco
from keras_epsanet.data.coco import part_files
from keras_epsanet.data.coco.from_yolo import read_yolo
from keras_epsanet.data.coco.yolo_folders import is_yolo

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)


def write_image(path, size=(40, 60), exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(np.zeros((*size, 3), "uint8"))
    options = {}
    if exif:
        options["exif"] = PIL.Image.Exif()
        options["exif"][0x0112] = exif
    picture.save(path, **options)


def write(folder, images, labels, name, text):
    write_image(folder / images / f"{name}.jpg")
    if text is not None:
        (folder / labels).mkdir(parents=True, exist_ok=True)
        (folder / labels / f"{name}.txt").write_text(text)


BOX = "1 0.5 0.5 0.5 0.25\n"
POLYGON = "0 0 0 0.5 0 0.5 1\n"
NAMES = "names: [fig, pear]\n"


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "val"):
        write(tmp_path, f"images/{part}", f"labels/{part}", f"{part}1", BOX)
    write(
        tmp_path, "images/train", "labels/train", "both", POLYGON + "\n" + BOX
    )
    write(tmp_path, "images/train", "labels/train", "none", None)
    text = f"path: {tmp_path}\ntrain: images/train\nval: images/val\n"
    (tmp_path / "data.yaml").write_text(text + "names:\n  0: fig\n  1: pear\n")
    return tmp_path


def test_shares_become_pixels(folder):
    parts = read_yolo(folder)
    assert set(parts) == {"train", "val"}
    names = [x["file_name"] for x in parts["train"]["images"]]
    assert names == [
        f"images/train/{x}.jpg" for x in ("both", "none", "train1")
    ]
    polygon, box, other = parts["train"]["annotations"]
    assert box["bbox"] == other["bbox"] == [15, 15, 30, 10]
    assert box["area"] == 300 and "segmentation" not in box
    assert polygon["bbox"] == [0, 0, 30, 40]
    assert polygon["segmentation"] == [[0, 0, 30, 0, 30, 40]]
    # Its area is that of its mask.
    assert "area" not in polygon
    assert [polygon["iscrowd"], box["iscrowd"]] == [0, 0]
    assert [polygon["id"], box["id"], other["id"]] == [1, 2, 3]
    assert [x["image_id"] for x in parts["train"]["annotations"]] == [1, 1, 3]
    categories = [x["name"] for x in parts["val"]["categories"]]
    assert categories == ["fig", "pear"]
    assert [polygon["category_id"], box["category_id"]] == [1, 2]


def test_what_is_written_is_read_as_coco(folder, tmp_path):
    path = tmp_path / "train.json"
    coco.write_from_yolo(path, folder, "train")
    annotations = coco.Annotations(path, folder)
    assert [len(x.labels) for x in annotations.images] == [2, 0, 1]
    batches = coco.load(annotations, 1, image_size=(40, 60))
    assert sum(1 for _ in batches) == 3 and annotations.bad == []
    with pytest.raises(ValueError, match="train, val, or None"):
        coco.write_from_yolo(path, folder, "all")


def test_each_part_is_written_by_default(folder, tmp_path):
    paths = coco.write_from_yolo(tmp_path / "my.json", folder)
    assert paths == [str(tmp_path / f"my_{x}.json") for x in ("train", "val")]
    numbers = [len(coco.Annotations(x, folder).images) for x in paths]
    assert numbers == [3, 1]


@pytest.mark.parametrize(
    "images, labels, yaml",
    [
        ("train/images", "train/labels", "train: ../train/images\n"),
        ("train/images", "train/labels", "train: train/images\n"),
        ("images/train", "labels/train", ""),
        ("images/train", "images/train", ""),
        ("pictures", "pictures", "train: [pictures]\n"),
        (
            "images/train",
            "labels/train",
            "path: elsewhere\ntrain: images/train\n",
        ),
    ],
)
def test_folders_of_several_programs(tmp_path, images, labels, yaml):
    write(tmp_path, images, labels, "a", BOX)
    (tmp_path / "my.yml").write_text(NAMES + yaml)
    assert is_yolo(tmp_path)
    (box,) = read_yolo(tmp_path)["train"]["annotations"]
    assert box["bbox"] == [15, 15, 30, 10]


def test_a_list_of_images_may_be_named(tmp_path):
    write(tmp_path, "images", "labels", "a", BOX)
    write(tmp_path, "images", "labels", "b", BOX)
    (tmp_path / "train.txt").write_text("./images/b.jpg\n")
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\n")
    (image,) = read_yolo(tmp_path)["train"]["images"]
    assert image["file_name"] == "images/b.jpg"


@pytest.mark.parametrize("place", [".", "", "./", "../{name}"])
def test_labels_are_found_from_the_folder_itself(tmp_path, monkeypatch, place):
    """Where a list names images, of which no folder is above `images`."""
    write(tmp_path, "images/train", "labels/train", "a", BOX)
    (tmp_path / "train.txt").write_text("./images/train/a.jpg\n")
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\n")
    monkeypatch.chdir(tmp_path)
    contents = read_yolo(place.format(name=tmp_path.name) or ".")["train"]
    assert len(contents["annotations"]) == 1
    assert contents["images"][0]["file_name"] == "images/train/a.jpg"


def test_an_image_may_be_called_images(tmp_path):
    write(tmp_path, "images/train", "labels/train", "images", BOX)
    (tmp_path / "data.yaml").write_text(NAMES + "train: images/train\n")
    assert len(read_yolo(tmp_path)["train"]["annotations"]) == 1


def test_a_part_without_any_text_file_is_named(folder):
    (folder / "labels/val").rename(folder / "labels/validation")
    with pytest.warns(UserWarning) as caught:
        parts = read_yolo(folder)
    (warning,) = caught
    message = str(warning.message)
    assert f"Received: {folder} with val" in message
    assert str(folder / "labels/val/val1.txt") in message
    assert not parts["val"]["annotations"] and parts["train"]["annotations"]


def test_a_list_of_images_in_a_storage_may_be_named(tmp_path):
    tf = pytest.importorskip("tensorflow")
    write(tmp_path, "images", "labels", "b", BOX)
    (tmp_path / "train.txt").write_text("./images/b.jpg\n")
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\n")
    remote = f"ram://test_from_yolo/{tmp_path.name}"
    for name in ("images/b.jpg", "labels/b.txt", "train.txt", "data.yaml"):
        tf.io.gfile.makedirs(f"{remote}/{name}".rpartition("/")[0])
        tf.io.gfile.copy(f"{tmp_path}/{name}", f"{remote}/{name}")
    contents = read_yolo(remote)["train"]
    assert [x["file_name"] for x in contents["images"]] == ["images/b.jpg"]
    assert len(contents["annotations"]) == 1


def test_without_parts_there_is_one_of_all_images(tmp_path):
    write(tmp_path, "", "", "a", BOX)
    write(tmp_path, "", "", "b", "")
    (tmp_path / "classes.txt").write_text("fig\npear\n")
    assert is_yolo(tmp_path)
    (contents,) = read_yolo(tmp_path).values()
    assert len(contents["images"]) == 2 and len(contents["annotations"]) == 1


def test_shares_are_those_of_the_upright_image(tmp_path):
    write_image(tmp_path / "a.jpg", exif=6)
    (tmp_path / "a.txt").write_text(BOX)
    (tmp_path / "classes.txt").write_text("fig\npear\n")
    contents = read_yolo(tmp_path)["all"]
    (image,) = contents["images"]
    assert (image["width"], image["height"]) == (40, 60)
    assert contents["annotations"][0]["bbox"] == [10, 22.5, 20, 15]
    coco.write_from_yolo(tmp_path / "a.json", tmp_path)
    annotations = coco.Annotations(tmp_path / "a.json", tmp_path)
    (batch,) = coco.load(annotations, 1, image_size=(40, 60))
    assert tuple(batch["image_size"][0].numpy()) == (60, 40)
    assert annotations.bad == []


@pytest.mark.parametrize(
    "line",
    [
        "2 0.5 0.5 0.5 0.5",
        "-1 0.5 0.5 0.5 0.5",
        "0.5 0.5 0.5 0.5 0.5",
        "0 0.5 0.5 0.5",
        "0 0.5 0.5 0.5 0.5 0.5",
        "0 0 0 1 1 0.5 0.5 1",
        "fig 0.5 0.5 0.5 0.5",
        "0",
        "nan 0.5 0.5 0.5 0.5",
    ],
)
def test_mistakes_are_named_with_their_line(folder, line):
    path = folder / "labels/val/val1.txt"
    path.write_text(f"{BOX}{line}\n")
    with pytest.raises(ValueError) as caught:
        read_yolo(folder)
    assert str(caught.value).endswith(f"Received: '{line}' in line 2 of {path}")


def test_an_image_that_cannot_be_read_is_left_out(folder):
    (folder / "images/train/none.jpg").write_text("no image")
    with pytest.warns(UserWarning, match="An image is skipped.*none.jpg"):
        contents = read_yolo(folder)["train"]
    assert len(contents["images"]) == 2


def test_other_folders_are_none(tmp_path):
    assert not is_yolo(tmp_path)
    with pytest.raises(ValueError, match="Received: folder="):
        read_yolo(tmp_path)


@pytest.mark.parametrize("file", ["data.yaml", "classes.txt"])
def test_a_class_twice_is_refused(tmp_path, file):
    write(tmp_path, "images", "labels", "a", BOX)
    text = "names: [fig, fig]\n" if file == "data.yaml" else "fig\nfig\n"
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match="Received: .* with fig twice"):
        read_yolo(tmp_path)


@pytest.mark.parametrize("file", ["data.yaml", "classes.txt"])
def test_files_may_begin_with_a_mark(tmp_path, file):
    write(tmp_path, "images", "labels", "a", None)
    options = {"encoding": "utf-8-sig"}
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(BOX, **options)
    text = NAMES if file == "data.yaml" else "fig\npear\n"
    (tmp_path / file).write_text(text, **options)
    contents = read_yolo(tmp_path)["all"]
    assert contents["categories"][0] == {"id": 1, "name": "fig"}
    assert contents["annotations"][0]["category_id"] == 2


def test_the_last_folder_of_images_has_labels_beside_it(tmp_path):
    inner = "images/mine"
    write(tmp_path, f"{inner}/images/train", f"{inner}/labels/train", "a", BOX)
    text = f"{NAMES}train: {inner}/images/train\n"
    (tmp_path / "a.yaml").write_text(text)
    # The first of several files is taken.
    (tmp_path / "b.yaml").write_text("names: [nothing]\n")
    assert len(read_yolo(tmp_path)["train"]["annotations"]) == 1


def test_the_file_is_written_as_a_whole(folder, monkeypatch):
    written = {}
    monkeypatch.setattr(part_files, "write_file", written.__setitem__)
    coco.write_from_yolo("a.json", folder, "val")
    assert json.loads(written["a.json"]) == read_yolo(folder)["val"]


@pytest.mark.parametrize(
    "name", ["labels/train/train1.txt", "train.txt", "classes.txt"]
)
def test_files_that_are_no_utf8_are_named(folder, name):
    if name == "train.txt":
        (folder / "data.yaml").write_text(NAMES + "train: train.txt\n")
    if name == "classes.txt":
        (folder / "data.yaml").unlink()
    (folder / name).write_text("fig\n", encoding="utf-16")
    with pytest.raises(ValueError, match="must be UTF-8") as caught:
        read_yolo(folder)
    assert str(caught.value).endswith(f"Received: {folder / name}")


def test_a_list_may_begin_with_a_mark(tmp_path):
    write(tmp_path, "images", "labels", "b", BOX)
    text = "./images/b.jpg\n"
    (tmp_path / "train.txt").write_text(text, encoding="utf-8-sig")
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\n")
    assert len(read_yolo(tmp_path)["train"]["annotations"]) == 1
