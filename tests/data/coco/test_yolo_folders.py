import pytest

from keras_epsanet.data.coco.yolo_folders import describe, is_yolo

pytest.importorskip("yaml")

NAMES = "names: [fig, pear]\n"


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "val"):
        (tmp_path / f"images/{part}").mkdir(parents=True)
        (tmp_path / f"images/{part}/1.jpg").touch()
    text = f"{NAMES}train: images/train\nval: images/val\n"
    (tmp_path / "data.yaml").write_text(text)
    return tmp_path


def test_names_and_the_images_of_each_part_are_found(folder):
    names, parts = describe(folder)
    assert names == ["fig", "pear"]
    assert parts == {
        part: [str(folder / f"images/{part}/1.jpg")]
        for part in ("train", "val")
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "names=None"),
        ("names: {1: fig}", "names="),
        ("names: []", "names="),
        ("- 1", "names=None"),
        ("a: [", "cannot be read as YAML"),
        (NAMES + "train: none", "none, which is not there"),
        (NAMES + "val: 3", "with val=3"),
        (NAMES + "val: 0", "with val=0"),
        (NAMES + "val: [images/val, 1]", r"with val=\['images/val', 1\]"),
        (NAMES + "train: {a: 1}", "with train={'a': 1}"),
        (NAMES + "path: [a]", r"with path=\['a'\]"),
        ("names: 3", "names=3"),
        ("names: fig", "names=fig"),
    ],
)
def test_mistakes_of_the_yaml_file_are_named(folder, text, message):
    (folder / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"data.yaml.*{message}"):
        describe(folder)


def test_names_of_a_dictionary_go_by_their_numbers(folder):
    (folder / "data.yaml").write_text("names: {1: pear, 0: fig}\n")
    assert describe(folder)[0] == ["fig", "pear"]


def test_other_programs_files_are_not_the_description(folder):
    """Ultralytics' `args.yaml` of a training, and what macOS leaves."""
    expected = describe(folder)
    (folder / "args.yaml").write_text("task: detect\nepochs: 3\n")
    (folder / "._data.yaml").write_bytes(b"\0\5\x16\7\xff")
    assert describe(folder) == expected
    # Of another name, too.
    (folder / "data.yaml").rename(folder / "fruit.yaml")
    (folder / "broken.yaml").write_text("a: [")
    assert is_yolo(folder)
    assert describe(folder) == expected


@pytest.mark.parametrize("name", ["data.yml", "dataset.yaml"])
def test_the_usual_name_comes_before_others(folder, name):
    (folder / "a.yaml").write_text("names: [nothing]\n")
    (folder / "data.yaml").rename(folder / name)
    assert describe(folder)[0] == ["fig", "pear"]


def test_without_names_in_yaml_those_of_the_text_file_count(tmp_path):
    (tmp_path / "args.yaml").write_text("task: detect\n")
    (tmp_path / "classes.txt").write_text("fig\npear\n")
    assert is_yolo(tmp_path)
    assert describe(tmp_path) == (["fig", "pear"], {"all": []})


def test_a_hidden_file_makes_no_such_folder(tmp_path):
    (tmp_path / "._data.yaml").write_bytes(b"\0\5\x16\7\xff")
    assert not is_yolo(tmp_path)
