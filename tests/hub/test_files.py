"""Files in folders and in the caches of the hubs."""

import sys

import pytest

from keras_epsanet import hub
from keras_epsanet.hub import files

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
    errors = (
        hub.errors.RepositoryNotFoundError,
        hub.errors.EntryNotFoundError,
    )
    for kind in errors:

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
