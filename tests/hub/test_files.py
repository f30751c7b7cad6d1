"""Files in folders and in the caches of the hubs."""

import os
import pathlib
import sys

import pytest

from keras_epsanet import hub
from keras_epsanet.hub import files
from keras_epsanet.hub.files import published_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder(tmp_path):
    (tmp_path / "a.json").touch()
    assert files.find_file(tmp_path, "a.json") == str(tmp_path / "a.json")
    with pytest.raises(ValueError, match=rf"no file {tmp_path}/b.json"):
        files.find_file(tmp_path, "b.json")


FIND = """
from keras_epsanet.hub.files import find_file
print(open(find_file(SOURCE, "a.json")).read())
try:
    find_file(SOURCE, "b.json")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_hugging_face_s_cache(tmp_path, run_python):
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "cache/models--somebody--mine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "a.json").write_text("found")
    output = run_python(
        FIND.replace("SOURCE", "'hf://somebody/mine'"),
        HF_HUB_CACHE=str(tmp_path / "cache"),
        HF_HUB_OFFLINE="1",
    )
    found, missing = output.splitlines()[-2:]
    assert found == "found"
    assert missing.startswith("ValueError hf://somebody/mine has no file b")


def test_kaggle_s_cache(tmp_path, monkeypatch):
    pytest.importorskip("kagglehub")
    folder = tmp_path / "models/somebody/mine/keras/tiny"
    (folder / "2").mkdir(parents=True)
    (folder / "2" / "a.json").write_text("found")
    (folder / ".complete/2").mkdir(parents=True)
    (folder / ".complete/2/a.json.complete").touch()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    path = files.find_file("kaggle://somebody/mine/keras/tiny/2", "a.json")
    assert path == str(folder / "2/a.json")


@pytest.mark.parametrize(
    "source, client",
    [
        ("hf://somebody/mine", "huggingface_hub"),
        ("kaggle://somebody/mine/keras/tiny", "kagglehub"),
    ],
)
def test_a_missing_client_is_named_with_its_command(
    source, client, monkeypatch
):
    monkeypatch.setitem(sys.modules, client, None)
    with pytest.raises(ImportError, match=f"{source} needs.*install {client}$"):
        files.find_file(source, "a.json")


def test_what_a_client_itself_misses_is_named(monkeypatch):
    error = ModuleNotFoundError("No module named 'requests'", name="requests")

    def import_module(name):
        raise error

    monkeypatch.setattr(files.importlib, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError) as caught:
        files.find_file("hf://somebody/mine", "a.json")
    assert caught.value is error


def test_a_repository_that_does_not_exist_is_named(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    errors = pytest.importorskip("huggingface_hub.errors")
    for kind in (errors.RepositoryNotFoundError, errors.EntryNotFoundError):

        def download(repository, name, kind=kind):
            assert (repository, name) == ("somebody/mine", "a.json")
            raise kind.__new__(kind)

        monkeypatch.setattr(hub, "hf_hub_download", download)
        with pytest.raises(ValueError, match="hf://somebody/mine has no file"):
            files.find_file("hf://somebody/mine", "a.json")


def test_other_addresses_are_refused():
    with pytest.raises(ValueError, match="hf:// or kaggle://.*source=s3://a/b"):
        files.find_file("s3://a/b", "a.json")


@pytest.mark.parametrize("save", ["save_preset", "save_timm"])
def test_what_is_published_is_written_to_this_machine(save):
    save = getattr(hub, save)
    with pytest.raises(ValueError, match="Received: folder=gs://bucket/a"):
        save(None, "gs://bucket/a")


FILES = ("model.bin", "*.json")


def write(folder, **texts):
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)


def test_a_folder_appears_when_all_of_it_is_there(tmp_path):
    folder = tmp_path / "a/published"
    with pytest.raises(OSError, match="full"):
        with published_folder(folder, FILES) as temporary:
            write(pathlib.Path(temporary), model_bin="1")
            raise OSError("full")
    assert not list((tmp_path / "a").iterdir())
    with published_folder(folder, FILES) as temporary:
        write(pathlib.Path(temporary), model_bin="1", names_json="2")
        assert not folder.exists()
    assert {x.name for x in folder.iterdir()} == {"model.bin", "names.json"}


def test_files_of_before_are_replaced_and_others_stay(tmp_path):
    write(tmp_path, model_bin="1", names_json="old", README_md="card")
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git", config="mine")
    with published_folder(str(tmp_path), FILES) as temporary:
        write(pathlib.Path(temporary), model_bin="2")
        with pytest.raises(RuntimeError):
            with published_folder(str(tmp_path), FILES):
                raise RuntimeError
        assert (tmp_path / "names.json").read_text() == "old"
    assert (tmp_path / "model.bin").read_text() == "2"
    assert not (tmp_path / "names.json").exists()
    assert (tmp_path / "README.md").read_text() == "card"
    assert (tmp_path / ".git/config").read_text() == "mine"
    assert not list(tmp_path.glob(".tmp-*"))
    assert not list(tmp_path.parent.glob(".tmp-*"))


def test_whoever_is_in_the_folder_stays_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, model_bin="1")
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").mkdir()
    write(tmp_path / "b.json", old_bin="1")
    with published_folder(".", FILES) as temporary:
        write(pathlib.Path(temporary), model_bin="2")
        (pathlib.Path(temporary) / "b.json").mkdir()
    assert pathlib.Path("model.bin").read_text() == "2"
    assert sorted(os.listdir()) == ["b.json", "model.bin"]
    assert not os.listdir("b.json")


def test_an_interrupted_replacement_can_be_repeated(tmp_path, monkeypatch):
    replace, moved = os.replace, []

    def fail_later(source, target):
        if moved:
            raise OSError("full")
        moved.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_later)
    with pytest.raises(OSError, match="full"):
        with published_folder(tmp_path, FILES) as temporary:
            write(pathlib.Path(temporary), a_json="1", model_bin="1")
    assert moved == os.listdir(tmp_path) == ["model.bin"]
    monkeypatch.undo()
    with published_folder(tmp_path, FILES) as temporary:
        write(pathlib.Path(temporary), a_json="2", model_bin="2")
    assert (tmp_path / "a.json").read_text() == "2"


@pytest.mark.parametrize("name", ["notes.txt", "names.json"])
def test_a_folder_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"with model.bin. .* with {name}$"):
        with published_folder(tmp_path, FILES):
            raise AssertionError
    assert [x.name for x in tmp_path.iterdir()] == [name]


def test_a_new_repository_is_taken(tmp_path):
    write(tmp_path, README_md="card")
    (tmp_path / ".gitattributes").touch()
    with published_folder(tmp_path, FILES) as temporary:
        write(pathlib.Path(temporary), model_bin="1")
    names = {x.name for x in tmp_path.iterdir()}
    assert names == {"model.bin", "README.md", ".gitattributes"}
