import functools
import pathlib

import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANet50Large, EPSANet50Small
from keras_epsanet.weights import public_files, public_resnets
from keras_epsanet.weights.downloads import cache_folder
from keras_epsanet.weights.public_resnets import (
    is_public_name,
    read_public_resnet,
)

LARGE = {"kernel_sizes": (3, 5, 5, 7), "groups": (32,) * 4, "expansion": 2}


@pytest.fixture(scope="module")
def state(torch_resnet):
    """Random numbers in the names and shapes of ResNeXt's file."""
    blocks, filters = (3, 4, 6, 3), (128, 256, 512, 1024)
    return torch_resnet(blocks, filters, 32, expansion=2).state_dict()


@pytest.fixture
def published(publisher, state):
    publisher.publish(public_files.DEFAULTS["resnext50_32x4d"], state)
    return publisher


def test_names_are_those_of_the_table_and_resnext():
    assert is_public_name("resnext") and is_public_name("resnet50.tv2")
    assert is_public_name("resnext101_32x4d")
    assert not is_public_name("resnet50.pth") and not is_public_name(None)
    assert not is_public_name("resnet50.keras")
    assert is_public_name("resnet50.tv3")  # Meant as one.


def test_the_converted_file_needs_no_pytorch(published, monkeypatch):
    model = small_stem_model()
    first = read_public_resnet(model, "resnext")
    monkeypatch.setattr(public_resnets, "import_for_files", refuse)
    monkeypatch.setattr(public_resnets, "download", refuse)
    second = read_public_resnet(model, "resnext")
    assert list(first.state) == list(second.state)
    for key, array in first.state.items():
        np.testing.assert_array_equal(array, second.state[key])


def half(content, place):
    return content[: int(place * len(content))]


def flip(content, place):
    content = bytearray(content)
    content[int(place * len(content))] ^= 0x10
    return bytes(content)


def rename(content, place):
    # The arrays of two layers change their names in the archive.
    names = b"bn1.weight", b"bn1.bias", b"bn1.weigh2"
    return content.replace(names[0], names[2]).replace(names[1], names[0])


@pytest.mark.parametrize(
    "damage",
    [(half, 0.0), (half, 0.5), (half, 0.999), (rename, 0)]
    + [(flip, place / 12) for place in range(12)]
    + [(flip, 1 - place / 12 * 0.2) for place in range(1, 12)],
)
def test_a_damaged_conversion_is_made_anew(damage, publisher, torch_resnet):
    # Of a small network, for which many kinds of damage can be tried.
    network = torch_resnet((1,), (8,), classes=3)
    name = public_files.DEFAULTS["resnext50_32x4d"]
    publisher.publish(name, network.state_dict())
    model = small_stem_model()
    expected = read_public_resnet(model, "resnext").state
    (path,) = pathlib.Path(cache_folder()).glob("*.npz")
    whole = path.read_bytes()
    change, place = damage
    path.write_bytes(change(whole, place))
    assert path.read_bytes() != whole
    for _ in range(2):
        found = read_public_resnet(model, "resnext").state
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array)
        assert path.read_bytes() == whole
    assert len(publisher.asked) == 1


@pytest.mark.parametrize("damage", [half, flip])
def test_all_that_is_damaged_is_downloaded_again(
    damage, publisher, torch_resnet
):
    network = torch_resnet((1,), (8,), classes=3)
    name = public_files.DEFAULTS["resnext50_32x4d"]
    publisher.publish(name, network.state_dict())
    model = small_stem_model()
    expected = read_public_resnet(model, "resnext").state
    for path in pathlib.Path(cache_folder()).iterdir():
        path.write_bytes(damage(path.read_bytes(), 0.5))
    found = read_public_resnet(model, "resnext").state
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)
    assert len(publisher.asked) == 2


def test_another_conversion_is_not_taken_for_this_one(publisher, torch_resnet):
    network = torch_resnet((1,), (8,), classes=3)
    name = public_files.DEFAULTS["resnext50_32x4d"]
    publisher.publish(name, network.state_dict())
    model = small_stem_model()
    expected = read_public_resnet(model, "resnext").state
    (path,) = pathlib.Path(cache_folder()).glob("*.npz")
    np.savez(path, **{key: 2 * array for key, array in expected.items()})
    found = read_public_resnet(model, "resnext").state
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


@functools.cache
def small_stem_model():
    return EPSANet50Large(include_top=False)


def refuse(*args):
    raise AssertionError("not wanted here")


@pytest.mark.parametrize(
    "make, reason",
    [
        (
            lambda: EPSANet50Small(weights="resnext"),
            "resnext.*groups and kernels can hold.*Received",
        ),
        (
            lambda: EPSANet50Large(weights="resnext", split_input=True),
            "kernels can hold.*Received",
        ),
        (
            lambda: EPSANet50Large(
                weights="resnext", kernel_sizes=(1, 3, 5, 7)
            ),
            "kernels can hold.*Received",
        ),
        (
            lambda: EPSANet50Large(
                weights="resnext", input_shape=(64, 64, 1), classes=2
            ),
            "channels of an image: 3, the model 1",
        ),
        (
            lambda: EPSANet((1, 1), (128, 256), **LARGE, weights="resnext"),
            "does not fit.*blocks",
        ),
    ],
)
def test_nothing_is_downloaded_that_does_not_fit(make, reason, monkeypatch):
    monkeypatch.setattr(public_resnets, "download", refuse)
    with pytest.raises(ValueError, match=reason):
        make()


def test_without_pytorch_nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(public_resnets, "download", refuse)

    def missing(module, package):
        raise ImportError("pip install torch")

    monkeypatch.setattr(public_resnets, "import_for_files", missing)
    with pytest.raises(ImportError, match="pip install"):
        read_public_resnet(small_stem_model(), "resnext")


def test_a_failed_download_is_said(published, tmp_path):
    for file in (tmp_path / "published").iterdir():
        file.unlink()
    with pytest.raises(OSError, match="404"):
        read_public_resnet(small_stem_model(), "resnext")
