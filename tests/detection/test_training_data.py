import pytest

from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import training_data
from keras_epsanet.detection.training_data import check_same_data, note_data


@pytest.fixture
def annotations(tmp_path):
    def make(name, num_train=3, seed=0):
        folder = tmp_path / name
        if not folder.exists():
            scenes.write(folder, num_train, 1, image_size=64, seed=seed)
        return {
            part: coco.Annotations(
                f"{folder}/annotations/instances_{part}.json",
                f"{folder}/{part}",
            )
            for part in ("train", "val")
        }

    return make


def test_the_same_data_go_on_from_wherever_they_are(annotations, tmp_path):
    run = tmp_path / "run"
    check_same_data(run, annotations("a"))  # Of no training yet.
    run.mkdir()
    note_data(run, annotations("a"))
    check_same_data(run, annotations("a"))
    (tmp_path / "a").rename(tmp_path / "b")
    check_same_data(run, annotations("b"))


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"num_train": 4}, "Received: train={'images': 4"),
        # As many images of the same classes.
        ({"seed": 1}, "Received: train={'images': 3"),
    ],
)
def test_other_data_are_refused(annotations, tmp_path, changes, match):
    note_data(tmp_path, annotations("a"))
    with pytest.raises(ValueError, match=f"other data.*{match}"):
        check_same_data(tmp_path, annotations("b", **changes))


def test_other_classes_are_named(annotations, tmp_path):
    data = annotations("a")
    note_data(tmp_path, data)
    data["train"].class_names = ["c", "d"]
    with pytest.raises(ValueError, match=r"class_names=\['c', 'd'\], not \["):
        check_same_data(tmp_path, data)


def test_the_note_is_written_as_a_whole(annotations, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        training_data, "write_file", lambda *x: written.append(x)
    )
    data = annotations("a")
    data["train"].class_names = ["b\u00e4g"]
    note_data(tmp_path, data)
    ((path, text),) = written
    # For a person to read, too.
    assert path == f"{tmp_path}/data.json" and "b\u00e4g" in text
