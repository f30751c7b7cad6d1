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


FILES = ("model.json", "names.json", "sums.txt")
KEYS = ("version", "date")
MODEL = '{"version": 1, "date": 2, "more": 3}'


def write(folder, **texts):
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)


def publish(folder):
    return published_folder(folder, FILES, KEYS)


def test_a_folder_appears_when_all_of_it_is_there(tmp_path):
    folder = tmp_path / "a/published"
    with pytest.raises(OSError, match="full"):
        with publish(folder) as temporary:
            write(pathlib.Path(temporary), model_json=MODEL)
            raise OSError("full")
    assert not list((tmp_path / "a").iterdir())
    with publish(folder) as temporary:
        write(pathlib.Path(temporary), model_json=MODEL, names_json="2")
        assert not folder.exists()
    assert {x.name for x in folder.iterdir()} == {"model.json", "names.json"}


def test_a_link_is_followed_wherever_it_points(tmp_path):
    link, folder = tmp_path / "link", tmp_path / "a/published"
    link.symlink_to(folder)
    for text in (MODEL, f" {MODEL}"):  # To no folder, and to one.
        with publish(link) as temporary:
            write(pathlib.Path(temporary), model_json=text)
        assert link.is_symlink() and not folder.is_symlink()
        assert (folder / "model.json").read_text() == text
    assert {x.name for x in tmp_path.iterdir()} == {"link", "a"}
    folder.joinpath("model.json").unlink()
    folder.rmdir()
    folder.touch()
    with pytest.raises(ValueError, match="not be a file. Received: folder="):
        with publish(link):
            raise AssertionError


def test_files_of_before_are_replaced_and_others_stay(tmp_path):
    write(tmp_path, model_json=MODEL, names_json="old", sums_txt="old")
    mine = {"README_md": "card", "results_json": "mine", "my_h5": "mine"}
    write(tmp_path, **mine)
    for name in (".git", "assets"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, config="mine")
    with publish(str(tmp_path)) as temporary:
        write(pathlib.Path(temporary), model_json=f" {MODEL}", sums_txt="2")
        with pytest.raises(RuntimeError):
            with publish(str(tmp_path)):
                raise RuntimeError
        assert (tmp_path / "names.json").read_text() == "old"
    assert (tmp_path / "model.json").read_text() == f" {MODEL}"
    assert (tmp_path / "sums.txt").read_text() == "2"
    assert not (tmp_path / "names.json").exists()
    for name, text in mine.items():
        assert (tmp_path / name.replace("_", ".")).read_text() == text
    assert (tmp_path / ".git/config").read_text() == "mine"
    assert (tmp_path / "assets/config").read_text() == "mine"
    assert not list(tmp_path.glob(".tmp-*"))
    assert not list(tmp_path.parent.glob(".tmp-*"))


def test_whoever_is_in_the_folder_stays_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, model_json=MODEL)
    with publish(".") as temporary:
        write(pathlib.Path(temporary), model_json=f" {MODEL}")
    assert pathlib.Path("model.json").read_text() == f" {MODEL}"
    assert os.listdir() == ["model.json"]


def test_a_folder_with_the_name_of_a_file_is_left_alone(tmp_path):
    write(tmp_path, model_json=MODEL)
    (tmp_path / "names.json").mkdir()
    write(tmp_path / "names.json", a_txt="mine")
    with pytest.raises(ValueError, match="a folder names.json.*Received: fold"):
        with publish(tmp_path):
            raise AssertionError
    assert (tmp_path / "names.json/a.txt").read_text() == "mine"


def test_an_interrupted_replacement_can_be_repeated(tmp_path, monkeypatch):
    replace, moved = os.replace, []

    def fail_later(source, target):
        if moved:
            raise OSError("full")
        moved.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_later)
    with pytest.raises(OSError, match="full"):
        with publish(tmp_path) as temporary:
            write(pathlib.Path(temporary), a_json="1", model_json=MODEL)
    assert moved == os.listdir(tmp_path) == ["model.json"]
    monkeypatch.undo()
    with publish(tmp_path) as temporary:
        write(pathlib.Path(temporary), a_json="2", model_json=MODEL)
    assert (tmp_path / "a.json").read_text() == "2"


@pytest.mark.parametrize("name", ["notes.txt", "names.json"])
def test_a_folder_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"with model.json .* with {name}$"):
        with publish(tmp_path):
            raise AssertionError
    assert [x.name for x in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "text", ["mine", "[]", "{}", '{"version": 1}', None], ids=str
)
def test_so_is_one_whose_file_only_has_the_name(tmp_path, text):
    file = tmp_path / "model.json"
    file.mkdir() if text is None else file.write_text(text)
    with pytest.raises(ValueError, match="has version and date. Received: "):
        with publish(tmp_path):
            raise AssertionError
    assert text is None or file.read_text() == text


def test_a_new_repository_is_taken(tmp_path):
    write(tmp_path, README_md="card")
    (tmp_path / ".gitattributes").touch()
    with publish(tmp_path) as temporary:
        write(pathlib.Path(temporary), model_json=MODEL)
    names = {x.name for x in tmp_path.iterdir()}
    assert names == {"model.json", "README.md", ".gitattributes"}
