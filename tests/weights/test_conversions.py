import os
import pathlib

import numpy as np
import pytest

from keras_epsanet.weights.conversions import read_conversion
from keras_epsanet.weights.downloads import cache_folder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


def convert(value=1.0):
    return {"a.weight": np.full((2, 3), value, "float32"), "b": np.arange(3)}


def never():
    raise AssertionError("converted twice")


def test_a_file_is_converted_once():
    first = read_conversion("model-01234567.pth", convert)
    again = read_conversion("model-01234567.pth", never)
    assert list(first) == list(again) == ["a.weight", "b"]
    for name, array in first.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)
    assert sorted(os.listdir(cache_folder())) == [
        "model-01234567.npz",
        "model-01234567.npz.sha256",
    ]


def test_another_file_has_its_own_conversion():
    read_conversion("a.pth", convert)
    assert read_conversion("b.pth", lambda: convert(2))["a.weight"][0, 0] == 2


@pytest.mark.parametrize("ending", ["npz", "npz.sha256"])
def test_a_damaged_conversion_is_made_anew(ending):
    read_conversion("a.pth", convert)
    path = pathlib.Path(cache_folder()) / f"a.{ending}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert read_conversion("a.pth", lambda: convert(3))["a.weight"][0, 0] == 3
    assert read_conversion("a.pth", never)["a.weight"][0, 0] == 3


def test_a_conversion_that_fails_leaves_nothing():
    with pytest.raises(ValueError, match="no weights"):
        read_conversion("a.pth", lambda: int("no weights"))
    assert os.listdir(cache_folder()) == []
