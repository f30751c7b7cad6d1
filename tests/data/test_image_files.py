import pytest

from keras_epsanet.data.image_files import list_files


def test_files_are_named_or_found_in_folders(tmp_path):
    names = ["b/2.JPG", "b/1.webp", "a/c/3.png", "4.gif", "5.bmp"]
    others = ["notes.txt", ".hidden.png", ".cache/6.png", "b/.7.jpg"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_files([str(tmp_path), "missing.txt"])
    expected = ["4.gif", "5.bmp", "a/c/3.png", "b/1.webp", "b/2.JPG"]
    assert found == [str(tmp_path / name) for name in expected] + [
        "missing.txt"
    ]


def test_files_of_a_storage_are_found(tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = f"ram://test_image_files/{tmp_path.name}"
    tf.io.gfile.makedirs(f"{path}/old/.hidden")
    for name in ("a.jpg", "old/b.png", "notes.txt", "old/.hidden/c.png"):
        with tf.io.gfile.GFile(f"{path}/{name}", "w") as file:
            file.write("contents")
    files = list_files([path, "c.png"])
    assert files == [f"{path}/a.jpg", f"{path}/old/b.png", "c.png"]
