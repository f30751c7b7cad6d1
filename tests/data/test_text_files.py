import pytest

from keras_epsanet.data.text_files import list_names, read_text


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_may_begin_with_a_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("çö\r\nb".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "çö\nb"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_of_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_text("çö", encoding=encoding)
    with pytest.raises(ValueError, match=f"UTF-8. Received: {path}$"):
        read_text(path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.txt")
