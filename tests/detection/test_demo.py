import keras
import pytest

from keras_epsanet import storage
from keras_epsanet.data import scenes
from keras_epsanet.detection import demo

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


@pytest.mark.parametrize(
    "detector, library, batch_size, start",
    [
        ("retinanet", "keras_epsanet", 4, "he_normal"),
        ("retinanet", "keras_hub", 4, None),
        ("faster_rcnn", "keras_epsanet", 2, None),
        ("mask_rcnn", "keras_epsanet", 2, None),
    ],
)
def test_each_detector_has_its_recipe(detector, library, batch_size, start):
    recipe = demo.scenes_recipe(detector, library)
    assert recipe.batch_size == batch_size
    assert recipe.head_initializer == start
    # The same rate, in proportion to the batch.
    assert recipe.peak_learning_rate == pytest.approx(5e-4)


def test_a_short_training_has_these_settings():
    expected = {
        "image_size": 192,
        "longer_side": 192,
        "optimizer": "adam",
        "learning_rate": 0.002,
        "schedule": "cosine",
        "epochs": 3,
        "warm_up_epochs": 0.1,
        "warm_up_steps": None,
        "clipnorm": 10,
        "num_samples": 64,
        "freeze_stages": 0,
        "norm_eval": False,
    }
    found = {name: getattr(demo.SCENES, name) for name in expected}
    assert found == expected
    # Each scene once.
    assert demo.scenes_recipe("faster_rcnn").epochs == 1


@pytest.mark.parametrize(
    "detector, number, expected",
    [
        ("retinanet", None, (1600, 200)),
        ("mask_rcnn", None, (2400, 200)),
        ("retinanet", 9, (9, 9)),
    ],
)
def test_as_many_scenes_are_composed_as_are_needed(
    detector, number, expected, monkeypatch, tmp_path
):
    asked = []

    def write(path, train, val, size):
        asked.append((train, val, size))
        scenes_write(path, 2, 1, size)

    scenes_write = scenes.write
    monkeypatch.setattr(scenes, "write", write)
    recipe = demo.scenes_recipe(detector)
    path = f"{tmp_path}/scenes"
    if number is None:
        demo.open_scenes(path, recipe)
    else:
        with pytest.raises(ValueError, match="9 scenes of 192 pixels, not 2"):
            demo.open_scenes(path, recipe, number)
    assert asked == [(*expected, 192)]


def test_scenes_of_another_size_are_refused(tmp_path):
    path = f"{tmp_path}/scenes"
    scenes.write(path, 2, 1, image_size=64)
    with pytest.raises(ValueError, match="2 scenes of 192 pixels, not 2 of 64"):
        demo.open_scenes(path, demo.SCENES)


def test_half_of_the_scenes_are_composed_anew(tmp_path, monkeypatch):
    """As a storage may hold them."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    (folder / "half.txt").touch()
    monkeypatch.setattr(demo.atomic, "is_whole", lambda path: False)
    found = demo.open_scenes(str(folder), demo.SCENES, 2)
    assert [len(x.images) for x in found.values()] == [2, 2]
    assert not (folder / "half.txt").exists()


@pytest.fixture
def copied(tmp_path):
    """Scenes that were copied into a storage, file by file."""
    gfile = pytest.importorskip("tensorflow").io.gfile
    scenes.write(tmp_path / "scenes", 2, 1, image_size=192)
    target = f"ram://test_demo/{tmp_path.name}"
    for file in (tmp_path / "scenes").rglob("*.*"):
        copy = f"{target}/{file.relative_to(tmp_path / 'scenes')}"
        gfile.makedirs(copy.rpartition("/")[0])
        gfile.copy(str(file), copy)
    return target


def test_scenes_that_were_copied_into_a_storage_are_taken(copied, monkeypatch):
    monkeypatch.setattr(scenes, "write", None)
    annotations = demo.open_scenes(copied, demo.SCENES, 2)
    assert [len(annotations[x].images) for x in ("train", "val")] == [2, 1]


@pytest.mark.parametrize(
    "missing",
    [
        "val/000000000001.jpg",
        "train/000000000002.jpg",
        "annotations/instances_val.json",
    ],
)
def test_half_of_the_scenes_in_a_storage_is_composed_anew(
    copied, missing, monkeypatch
):
    storage.remove(f"{copied}/{missing}")
    asked, write = [], scenes.write

    def compose(path, *numbers):
        asked.append(numbers)
        write(path, *numbers)

    monkeypatch.setattr(scenes, "write", compose)
    demo.open_scenes(copied, demo.SCENES, 2)
    assert asked == [(2, 2, 192)]
