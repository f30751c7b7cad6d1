import keras
import numpy as np
import pytest

from keras_epsanet.classification import sources

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)


def write_images(folder, each, names=("blue", "red")):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            keras.utils.save_img(
                folder / name / f"{i}.png", np.zeros((8, 8, 3))
            )


@pytest.mark.parametrize("name", ["val", "test"])
def test_folders_of_a_parted_dataset_are_used(name, tmp_path):
    write_images(tmp_path / "train", each=3)
    write_images(tmp_path / name, each=2)
    images = sources.open_images(tmp_path)
    assert images.describe() == {
        "source": str(tmp_path),
        "class_names": ["blue", "red"],
        "train": 6,
        "held_out": 4,
    }


def test_a_fifth_of_other_folders_is_held_out(tmp_path):
    write_images(tmp_path, each=5)
    images = sources.open_images(tmp_path)
    assert images.train.num_images == 8 and images.held_out.num_images == 2


def test_another_share_is_passed_on(monkeypatch):
    calls = []

    def image_folder(path, subset, **options):
        calls.append((subset, options))
        return type("Part", (), {"left_out": {".txt": 2}, "undecodable": []})

    monkeypatch.setattr(sources.data, "image_folder", image_folder)
    images = sources.open_images("fruits", val_share=0.3)
    assert calls == [
        ("train", {"held_out_share": 0.3}),
        ("held_out", {"held_out_share": 0.3}),
    ]
    # Both parts are of one folder, whose files are counted once.
    assert images.left_out == {".txt": 2}
    with pytest.raises(ValueError, match="val_share=0"):
        sources.open_images("fruits", val_share=0)


def test_files_left_out_of_two_folders_are_added(monkeypatch, tmp_path):
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(
        sources.data,
        "image_folder",
        lambda path: type(
            "Part", (), {"left_out": {".txt": 2}, "class_names": ["a", "b"]}
        ),
    )
    assert sources.open_images(tmp_path).left_out == {".txt": 4}


def test_parts_with_different_classes_are_refused(tmp_path):
    write_images(tmp_path / "train", each=1)
    write_images(tmp_path / "val", each=1, names=("red", "white"))
    with pytest.raises(ValueError, match=r"same classes.*'blue'.*'white'"):
        sources.open_images(tmp_path)


@pytest.mark.parametrize(
    "splits, share, expected",
    [
        (["train"], 0.25, ("train[:75%]", "train[75%:]")),
        (["train"], 0.001, ("train[:99%]", "train[99%:]")),
        (["train"], 0.999, ("train[:1%]", "train[1%:]")),
        (["train", "test"], 0.25, ("train", "test")),
    ],
)
def test_tfds_holds_out_a_part_of_its_own(splits, share, expected, monkeypatch):
    class Part:
        def __init__(self, name, split):
            self.split, self.splits = split, splits

    monkeypatch.setattr(sources.data, "tfds", Part)
    images = sources.open_images(tfds="fruits", val_share=share)
    assert (images.train.split, images.held_out.split) == expected


def test_files_that_cannot_be_decoded_are_listed(tmp_path):
    write_images(tmp_path, each=5)
    (tmp_path / "red" / "0.png").write_text("no image")
    images = sources.open_images(tmp_path)
    with pytest.warns(UserWarning, match="skipped"):
        list(images.train)
    assert images.undecodable == [str(tmp_path / "red" / "0.png")]


def test_both_parts_tell_of_files_that_cannot_be_decoded(dataset):
    train, held_out = dataset(4), dataset(2)
    train.undecodable, held_out.undecodable = ["a.png"], ["b.png"]
    images = sources.Images(train, held_out, "somewhere")
    assert images.undecodable == ["a.png", "b.png"] and images.left_out == {}


def test_val_is_taken_before_test_and_other_folders_are_classes(tmp_path):
    for name in ("train", "test"):
        write_images(tmp_path / name, each=1)
    write_images(tmp_path / "val", each=2)
    assert sources.open_images(tmp_path).held_out.num_images == 4
    # Without the part to train with it is a class as any other.
    write_images(tmp_path / "other" / "val", each=5)
    write_images(tmp_path / "other" / "cat", each=5)
    images = sources.open_images(tmp_path / "other")
    assert images.class_names == ["cat", "val"]
    assert images.source == str(tmp_path / "other")


def test_of_tfds_the_part_for_validation_comes_first(monkeypatch):
    class Part:
        splits = ["train", "test", "validation"]

        def __init__(self, name, split):
            self.arguments = name, split

    monkeypatch.setattr(sources.data, "tfds", Part)
    images = sources.open_images(tfds="fruits")
    assert images.train.arguments == ("fruits", "train")
    assert images.held_out.arguments == ("fruits", "validation")
    assert images.source == "tfds fruits"


def test_a_share_of_0_2_is_the_default(monkeypatch):
    shares = []

    def image_folder(path, subset, held_out_share):
        shares.append((subset, held_out_share))
        return type("Part", (), {"left_out": {}})

    monkeypatch.setattr(sources.data, "image_folder", image_folder)
    sources.open_images("fruits")
    assert shares == [("train", 0.2), ("held_out", 0.2)]
