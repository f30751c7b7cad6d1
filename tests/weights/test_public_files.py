import pathlib
import re

import pytest

from keras_epsanet.weights import public_files
from keras_epsanet.weights.public_files import (
    DEFAULTS,
    PUBLIC_FILES,
    download,
)

HOSTS = (
    "https://download.pytorch.org/models/",
    "https://github.com/huggingface/pytorch-image-models/releases/download/",
    "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/"
    "download/v0.1/",
    "https://github.com/keras-team/keras-applications/releases/download/",
    "https://download.openmmlab.com/mmclassification/v0/",
    "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/",
)


@pytest.mark.parametrize("name", PUBLIC_FILES)
def test_every_file_has_a_source_a_hash_and_terms(name):
    file = PUBLIC_FILES[name]
    assert file.url.startswith(HOSTS)
    assert file.url.endswith((".pth", ".h5"))
    assert re.fullmatch("[0-9a-f]{8}|[0-9a-f]{32}", file.digest)
    assert file.publisher and file.license and "ImageNet" in file.data_set
    paper = "1611.05431" if name.startswith("resnext") else "1512.03385"
    assert paper in file.paper
    assert file.top1 is None or 75 < file.top1 < 84
    network = name.partition(".")[0]
    assert network.replace("32x4d", "32x4") in file.url or file.md5


def test_every_file_is_another():
    for field in ("url", "file_name", "digest"):
        values = {getattr(file, field) for file in PUBLIC_FILES.values()}
        assert len(values) == len(PUBLIC_FILES)


def test_the_defaults():
    files = {key: PUBLIC_FILES[name] for key, name in DEFAULTS.items()}
    assert {key: file.digest for key, file in files.items()} == {
        "resnext50_32x4d": "1a0047aa",
        "resnext101_32x4d": "b253c8c4",
    }
    assert not any(file.is_non_commercial for file in files.values())


def test_files_for_non_commercial_use_have_names_that_say_so():
    found = {name for name, x in PUBLIC_FILES.items() if x.is_non_commercial}
    assert found == {
        f"{network}.{kind}"
        for network in ("resnext50_32x4d", "resnext101_32x4d", "resnet50")
        for kind in ("fb_ssl", "fb_swsl")
    }
    facebook = {n for n, x in PUBLIC_FILES.items() if "fbaipublic" in x.url}
    assert facebook == found


def test_names_and_defaults_are_downloaded(monkeypatch):
    calls = []
    monkeypatch.setattr(public_files, "fetch", lambda *x: calls.append(x))
    download("resnext50_32x4d")
    download("resnext50_32x4d.tv", timeout=3)
    assert calls == [
        (PUBLIC_FILES["resnext50_32x4d.tv2"], 30),
        (PUBLIC_FILES["resnext50_32x4d.tv"], 3),
    ]


@pytest.mark.parametrize("name", ["resnext50_32x4d.tv3", "x", None])
def test_unknown_names_are_refused(name, monkeypatch):
    monkeypatch.setattr(public_files, "fetch", None)
    with pytest.raises(ValueError, match=f"Received: name={name}$") as error:
        download(name)
    if name and "tv3" in name:
        assert "Similar: resnext50_32x4d.tv" in str(error.value)


def test_the_docs_list_every_file():
    page = pathlib.Path(__file__).parents[2] / "docs/trained_start.md"
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page.read_text().splitlines()
        if line.startswith("| `res")
    ]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        (name, file.file_name, "–" if file.top1 is None else str(file.top1))
        for name, file in PUBLIC_FILES.items()
    ]
    for row in rows:
        assert PUBLIC_FILES[row[0]].license.startswith(row[3])
