import os

import pytest

from keras_epsanet.data.class_folders import ENDINGS, list_class_files


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folder(tmp_path):
    touch(tmp_path, "pears/1.png", "pears/2.JPG", "figs/1.webp")
    return tmp_path


def test_folders_below_a_class_belong_to_it(folder):
    touch(folder, "pears/2020/b.png", "pears/2020/may/a.png", "pears/3.png")
    class_names, files, left_out = list_class_files(folder)
    assert class_names == ["figs", "pears"]
    names = [os.path.relpath(file, folder / "pears") for file in files["pears"]]
    assert names == ["1.png", "2.JPG", "2020/b.png", "2020/may/a.png", "3.png"]
    assert left_out == {}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_counts_in_small_and_capital_letters(folder, ending):
    touch(folder, f"pears/a{ending}", f"pears/b{ending.upper()}")
    _, files, left_out = list_class_files(folder)
    assert len(files["pears"]) == 4 and not left_out


def test_a_missing_folder_is_refused(folder):
    for path in (folder / "none", folder / "pears/1.png"):
        with pytest.raises(ValueError, match=f"exists. Received: path={path}$"):
            list_class_files(path)


@pytest.mark.parametrize("names", [[], ["apples"]])
def test_fewer_than_two_classes_are_refused(tmp_path, names):
    touch(tmp_path, "1.png", *(f"{name}/1.png" for name in names))
    with pytest.raises(ValueError, match=r"two classes or more. Rec.*\[.*\]$"):
        list_class_files(tmp_path)


def test_classes_without_images_are_named(folder):
    touch(folder, "plums/a.txt", "dates/.a.png")
    with pytest.raises(ValueError, match=f"path={folder} with none in dates, "):
        list_class_files(folder)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("pears/a.txt", ".txt"),
        ("pears/old/a.TIFF", ".tiff"),
        ("pears/Makefile", "no ending"),
        ("pears/.DS_Store", "hidden"),
        ("pears/.cache/a.png", "hidden"),
        (".cache/a.png", "hidden"),
        ("a.png", "in no class"),
    ],
)
def test_what_is_left_out_is_counted_by_reason(folder, name, reason):
    touch(folder, name)
    class_names, files, left_out = list_class_files(folder)
    assert class_names == ["figs", "pears"]
    assert [len(files[x]) for x in class_names] == [1, 2]
    assert left_out == {reason: 1}


def test_counts_are_of_all_classes(folder):
    touch(folder, "pears/a.txt", "pears/b.TXT", "figs/a.txt", "figs/a.tif")
    assert list_class_files(folder)[2] == {".tif": 1, ".txt": 3}


def test_links_are_followed_where_they_cannot_lead_in_a_circle(folder):
    touch(folder, "elsewhere/apples/1.png")
    (folder / "figs/linked.png").symlink_to(folder / "pears/1.png")
    (folder / "figs/circle").symlink_to(folder)
    (folder / "figs/broken.png").symlink_to(folder / "nothing")
    (folder / "plums").symlink_to(folder / "elsewhere/apples")
    class_names, files, left_out = list_class_files(folder)
    assert class_names == ["elsewhere", "figs", "pears", "plums"]
    assert len(files["figs"]) == 2 and len(files["plums"]) == 1
    assert left_out == {"link to a folder": 1, "no regular file": 1}


def test_names_need_not_be_text(folder):
    path = os.path.join(os.fsencode(folder), b"f\xfcnf")
    os.mkdir(path)
    with open(os.path.join(path, b"f\xfcnf.png"), "wb"):
        pass
    class_names, files, _ = list_class_files(str(folder))
    assert class_names == [r"f\xfcnf", "figs", "pears"]
    assert os.path.isfile(files[r"f\xfcnf"][0])
    os.remove(files[r"f\xfcnf"][0])
    with pytest.raises(ValueError, match=r"none in f\\xfcnf$"):
        list_class_files(str(folder))


def test_these_formats_are_images():
    endings = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
    assert set(ENDINGS) == endings and len(ENDINGS) == len(endings)
