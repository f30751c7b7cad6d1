import pytest

from keras_epsanet.data.coco.layouts import find_parts


def make(folder, *files):
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder, path=None):
    pairs = find_parts(path or folder)
    return {
        part: tuple(str(x).removeprefix(f"{folder}/") for x in pair)
        for part, pair in pairs.items()
    }


@pytest.mark.parametrize("year", ["", "2014", "2017"])
@pytest.mark.parametrize("above", ["", "images/"])
def test_coco_s_own_form(tmp_path, year, above):
    file = f"annotations/instances_val{year}.json"
    images = f"{above}val{year}"
    make(tmp_path, file, f"{images}/1.jpg", f"train{year}/1.jpg")
    assert found(tmp_path) == {"val": (file, images)}


def test_a_folder_for_each_part(tmp_path):
    make(tmp_path, *(f"{x}/_annotations.coco.json" for x in ("train", "valid")))
    assert found(tmp_path) == {
        "train": ("train/_annotations.coco.json", "train"),
        "val": ("valid/_annotations.coco.json", "valid"),
    }


@pytest.mark.parametrize(
    "files, images",
    [
        (["a.json", "1.jpg"], ""),
        (["a.json", "images/1.jpg"], "images"),
        (["annotations/a.json", "images/1.jpg"], "images"),
        (["annotations/a.json", "images/default/1.jpg"], "images/default"),
        (["annotations/a.json", "1.jpg"], ""),
    ],
)
def test_one_file(tmp_path, files, images):
    make(tmp_path, *files)
    file, folder = find_parts(tmp_path)["all"]
    assert file == f"{tmp_path}/{files[0]}"
    assert folder.rstrip("/") == f"{tmp_path}/{images}".rstrip("/")
    # Named itself it is the same.
    assert find_parts(file) == {"all": (file, folder)}


def test_a_hidden_file_is_not_another_one(tmp_path):
    make(tmp_path, "annotations/a.json", "annotations/._a.json", "._a.json")
    assert found(tmp_path) == {"all": ("annotations/a.json", str(tmp_path))}


def test_other_folders_are_none(tmp_path):
    make(tmp_path, "1.jpg", "a.json", "b.json")
    assert find_parts(tmp_path) == {}
    assert find_parts(tmp_path / "1.jpg") == {}


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="Received: .*none"):
        find_parts(tmp_path / "none")


def test_of_several_years_2017_comes_first(tmp_path):
    files = [f"annotations/instances_val{x}.json" for x in ("2017", "", "2014")]
    folders = [f"val{x}" for x in ("2017", "", "2014")]
    for file, images in reversed(list(zip(files, folders))):
        make(tmp_path, file, f"{images}/1.jpg")
        assert found(tmp_path) == {"val": (file, images)}


def test_images_beside_the_annotations_come_first(tmp_path):
    file = "annotations/instances_test.json"
    make(tmp_path, file)
    # An error names it.
    assert found(tmp_path) == {"test": (file, "test")}
    make(tmp_path, "images/test/1.jpg")
    assert found(tmp_path) == {"test": (file, "images/test")}
    make(tmp_path, "test/1.jpg")
    assert found(tmp_path) == {"test": (file, "test")}


def test_a_folder_for_each_part_may_be_named_in_two_ways(tmp_path):
    make(tmp_path, "valid/_annotations.coco.json")
    make(tmp_path, "test/_annotations.coco.json")
    assert found(tmp_path)["val"][1] == "valid"
    make(tmp_path, "val/_annotations.coco.json")
    assert found(tmp_path)["val"][1] == "val"
    assert found(tmp_path)["test"][1] == "test"
