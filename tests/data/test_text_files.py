import pytest

from keras_epsanet.data.text_files import list_names


def test_names_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b.yml", "a.yaml", "._a.yaml", ".yaml", "c.txt"):
        (tmp_path / name).touch()
    assert list_names(tmp_path, (".yaml", ".yml")) == ["a.yaml", "b.yml"]
    assert list_names(tmp_path / "none", ".txt") == []


def test_names_of_a_storage_are_listed(tmp_path):
    tf = pytest.importorskip("tensorflow")
    folder = f"ram://test_text_files/{tmp_path.name}"
    tf.io.gfile.makedirs(folder)
    for name in ("a.xml", "._a.xml"):
        with tf.io.gfile.GFile(f"{folder}/{name}", "w") as file:
            file.write("<annotation/>")
    assert list_names(folder, ".xml") == ["a.xml"]
