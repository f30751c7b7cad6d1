import json
import pathlib
import shutil
import warnings

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
    found = sources.open_annotations(f"{tmp_path}/coco", f"{tmp_path}/run")
    assert [len(found[x].images) for x in ("train", "val")] == [2, 1]


def test_nothing_to_evaluate_with_is_an_error(tmp_path):
    scenes.write(tmp_path / "coco", 2, 0, image_size=64)
    with pytest.raises(ValueError, match=f"Received: {tmp_path}/coco, without"):
        sources.open_annotations(f"{tmp_path}/coco", f"{tmp_path}/run")


def numbers(found):
    return [len(found[x].images) for x in ("train", "val")]


@pytest.fixture
def single(tmp_path):
    """One file of ten images in COCO's form."""
    scenes.write(tmp_path / "coco", 10, 1, image_size=64)
    shutil.move(tmp_path / "coco/train", tmp_path / "my/images")
    file = tmp_path / "coco/annotations/instances_train.json"
    return shutil.move(file, tmp_path / "my/labels.json")


@pytest.mark.parametrize("path", ["my", "my/labels.json"])
def test_of_one_file_a_share_is_held_out(single, tmp_path, path):
    found = sources.open_annotations(tmp_path / path, tmp_path / "run", 0.3, 1)
    assert numbers(found) == [7, 3]
    written = pathlib.Path(found["val"].path)
    assert written == tmp_path / "run/annotations/instances_val.json"
    ids = {x.id for part in found.values() for x in part.images}
    assert len(ids) == 10
    again = sources.open_annotations(tmp_path / path, tmp_path / "b", 0.3, 1)
    other = sources.open_annotations(tmp_path / path, tmp_path / "c", 0.3, 2)
    first, same, others = (
        [x.id for x in y["val"].images] for y in (found, again, other)
    )
    assert first == same != others
    # To evaluate with, it is the whole.
    whole = sources.open_part(tmp_path / path, "val", tmp_path / "run")
    assert len(whole.images) == 10


def test_a_fifth_is_held_out_unless_said_otherwise(single, tmp_path):
    found = sources.open_annotations(tmp_path / "my", tmp_path / "run")
    assert numbers(found) == [8, 2]
    again = sources.open_annotations(tmp_path / "my", tmp_path / "b", 0.2, 0)
    theirs = [image.id for image in again["val"].images]
    assert [image.id for image in found["val"].images] == theirs


def test_yaml_beside_files_of_voc_is_no_yolo(tmp_path):
    scenes.write(tmp_path / "coco", 3, 2, image_size=64)
    to_voc(tmp_path / "coco", tmp_path / "voc")
    (tmp_path / "voc/notes.yaml").write_text("names: [nothing]\n")
    found = sources.open_annotations(tmp_path / "voc", tmp_path / "run")
    assert numbers(found) == [3, 2]
    # Of two parts none is the third.
    with pytest.raises(ValueError, match="without test, with train, val"):
        sources.open_part(tmp_path / "voc", "test", tmp_path / "b")


def test_a_part_to_evaluate_with_is_none_to_train_with(tmp_path):
    scenes.write(tmp_path / "coco", 2, 3, image_size=64)
    (tmp_path / "coco/annotations/instances_train.json").unlink()
    with pytest.raises(ValueError, match="without train, with val"):
        sources.open_annotations(tmp_path / "coco", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_that_was_held_out_is_an_error(single, tmp_path):
    sources.open_annotations(single, tmp_path / "run")
    written = tmp_path / "run/annotations/instances_val.json"
    contents = json.loads(written.read_text())
    written.write_text(json.dumps({**contents, "images": []}))
    with pytest.raises(ValueError, match="an image to evaluate with"):
        sources.open_part(single, "val", tmp_path / "e", tmp_path / "run")


def test_of_a_training_part_alone_a_share_is_held_out(tmp_path):
    scenes.write(tmp_path / "coco", 5, 1, image_size=64)
    (tmp_path / "coco/annotations/instances_val.json").unlink()
    found = sources.open_annotations(tmp_path / "coco", tmp_path / "run")
    assert numbers(found) == [4, 1]
    with pytest.raises(ValueError, match="without val, with train"):
        sources.open_part(tmp_path / "coco", "val", tmp_path / "run")
    (tmp_path / "coco/annotations/instances_train.json").unlink()
    with pytest.raises(ValueError, match="Received: .*coco"):
        sources.open_annotations(tmp_path / "coco", tmp_path / "run")


def to_voc(coco, folder):
    """Writes a COCO folder of scenes in Pascal VOC's form."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for part in ("train", "val"):
        file = coco / f"annotations/instances_{part}.json"
        contents = json.loads(file.read_text())
        names = {x["id"]: x["name"] for x in contents["categories"]}
        stems = []
        for image in contents["images"]:
            stem = f"{part}{image['id']}"
            stems.append(stem)
            shutil.copy(
                coco / part / image["file_name"],
                folder / f"JPEGImages/{stem}.png",
            )
            objects = ""
            for x in contents["annotations"]:
                if x["image_id"] == image["id"]:
                    left, top, width, height = x["bbox"]
                    objects += (
                        f"<object><name>{names[x['category_id']]}</name>"
                        f"<bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
                        f"<xmax>{left + width}</xmax>"
                        f"<ymax>{top + height}</ymax></bndbox></object>"
                    )
            (folder / f"Annotations/{stem}.xml").write_text(
                f"<annotation>{objects}</annotation>"
            )
        (folder / f"ImageSets/Main/{part}.txt").write_text("\n".join(stems))


def to_yolo(coco, folder):
    """Writes a COCO folder of scenes in YOLO's form."""
    for part in ("train", "val"):
        file = coco / f"annotations/instances_{part}.json"
        contents = json.loads(file.read_text())
        shutil.copytree(coco / part, folder / "images" / part)
        (folder / "labels" / part).mkdir(parents=True)
        for image in contents["images"]:
            lines = []
            for x in contents["annotations"]:
                if x["image_id"] == image["id"]:
                    left, top, width, height = x["bbox"]
                    box = left + width / 2, top + height / 2, width, height
                    shares = " ".join(str(value / 64) for value in box)
                    lines.append(f"{x['category_id'] - 1} {shares}\n")
            stem = pathlib.Path(image["file_name"]).stem
            (folder / f"labels/{part}/{stem}.txt").write_text("".join(lines))
    names = [x["name"] for x in contents["categories"]]
    (folder / "data.yaml").write_text(f"names: {json.dumps(names)}\n")


@pytest.mark.parametrize("convert", [to_voc, to_yolo])
def test_other_forms_hold_the_same_objects(convert, tmp_path):
    scenes.write(tmp_path / "coco", 3, 2, image_size=64)
    convert(tmp_path / "coco", tmp_path / "other")
    theirs = sources.open_annotations(tmp_path / "coco", tmp_path / "run")
    ours = sources.open_annotations(tmp_path / "other", tmp_path / "run")
    for part, number in (("train", 3), ("val", 2)):
        assert len(ours[part].images) == number
        for mine, other in zip(ours[part].images, theirs[part].images):
            assert mine.boxes == pytest.approx(other.boxes, abs=1e-3)
            classes = (
                [x[part].class_names[i] for i in image.labels]
                for x, image in ((ours, mine), (theirs, other))
            )
            assert next(classes) == next(classes)
    val = sources.open_part(tmp_path / "other", "val", tmp_path / "b")
    assert len(val.images) == 2
    assert pathlib.Path(val.path).is_relative_to(tmp_path / "b")


def test_annotations_of_another_training_are_kept(tmp_path):
    for name, number in (("coco", 5), ("more", 6)):
        scenes.write(tmp_path / name, number, 2, image_size=64)
        to_yolo(tmp_path / name, tmp_path / f"{name}_yolo")
    first, second = tmp_path / "coco_yolo", tmp_path / "more_yolo"
    run = tmp_path / "run"
    sources.open_annotations(first, run)
    before = (run / "annotations/instances_train.json").read_bytes()
    with pytest.raises(ValueError, match="run belongs to a training on other"):
        sources.open_annotations(second, run)
    assert (run / "annotations/instances_train.json").read_bytes() == before
    sources.open_annotations(first, run)  # It goes on with its own.


def test_what_a_training_held_out_is_evaluated(single, tmp_path):
    trained = sources.open_annotations(single, tmp_path / "run")
    assert len(trained["val"].images) < len(trained["train"].images)
    found = sources.open_part(single, "val", tmp_path / "e", tmp_path / "run")
    theirs = [image.id for image in trained["val"].images]
    assert [image.id for image in found.images] == theirs
    # Without a training all images are taken.
    whole = sources.open_part(single, "val", tmp_path / "e")
    assert len(whole.images) > len(found.images)


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_what_a_check_warns_of_is_seen(form, tmp_path):
    scenes.write(tmp_path / "coco", 2, 1, image_size=64)
    to_yolo(tmp_path / "coco", tmp_path / "yolo")

    def check(annotations):
        assert len(annotations.images) == 1
        assert not (tmp_path / "e").exists()
        warnings.warn("Somebody wrote here.", stacklevel=1)

    with pytest.warns(UserWarning, match="Somebody wrote here"):
        sources.open_part(tmp_path / form, "val", tmp_path / "e", check=check)


@pytest.mark.parametrize("form", ["coco", "train alone", "voc", "yolo"])
def test_data_are_opened_in_a_storage(form, tmp_path):
    tf = pytest.importorskip("tensorflow")
    scenes.write(tmp_path / "coco", 3, 2, image_size=64)
    local = tmp_path / ("coco" if form == "train alone" else form)
    if form == "train alone":
        (local / "annotations/instances_val.json").unlink()
    elif form != "coco":
        {"voc": to_voc, "yolo": to_yolo}[form](tmp_path / "coco", local)
    remote = f"ram://test_sources/{tmp_path.name}"
    for file in filter(pathlib.Path.is_file, local.rglob("*")):
        there = f"{remote}/{file.relative_to(local).as_posix()}"
        tf.io.gfile.makedirs(there.rpartition("/")[0])
        tf.io.gfile.copy(str(file), there)
    for folder in (str(tmp_path / "run"), f"{remote}/run"):
        ours = sources.open_annotations(remote, folder)
        theirs = sources.open_annotations(local, tmp_path / "run")
        for part in ("train", "val"):
            names = [x.path for x in theirs[part].images]
            for mine, name in zip(ours[part].images, names, strict=True):
                inner = pathlib.Path(name).relative_to(local).as_posix()
                assert mine.path == f"{remote}/{inner}"
                assert tf.io.gfile.exists(mine.path)


def test_no_data_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "none"):
        with pytest.raises(ValueError, match=f"Received: .*{path}"):
            sources.open_annotations(tmp_path / path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_are_written_as_a_whole(single, tmp_path, monkeypatch):
    """By the function that renames them when they are whole."""
    written = []

    def note(path, text):
        written.append(path)
        pathlib.Path(path).write_text(text)

    monkeypatch.setattr(sources, "write_file", note)
    sources.open_annotations(single, tmp_path / "run")
    folder = f"{tmp_path}/run/annotations"
    assert written == [
        f"{folder}/instances_train.json",
        f"{folder}/instances_val.json",
    ]


def test_what_another_worker_has_written_stays(single, tmp_path, monkeypatch):
    first = sources.open_annotations(single, tmp_path / "run")
    monkeypatch.setattr(sources, "write_file", None)
    again = sources.open_annotations(single, tmp_path / "run")
    assert numbers(again) == numbers(first) == [8, 2]
