import functools
import hashlib
import http.server
import threading

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANet50Large, EPSANet50Small
from keras_epsanet.weights import public_files, public_resnets
from keras_epsanet.weights.public_resnets import (
    is_public_name,
    read_public_resnet,
)

LARGE = {"kernel_sizes": (3, 5, 5, 7), "groups": (32,) * 4, "expansion": 2}
WIDTHS = (128, 256, 512, 1024)


def make_state(depth):
    """Random numbers in the names and shapes of ResNeXt 32x4d's file."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape, around=0.0, spread=0.02):
        values = torch.randn(*shape, generator=generator) * spread + around
        state[name] = values

    def normalize(name, width):
        add(f"{name}.weight", width, around=0.5)
        add(f"{name}.bias", width)
        add(f"{name}.running_mean", width)
        add(f"{name}.running_var", width, around=1.0)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    add("conv1.weight", 64, 3, 7, 7)
    normalize("bn1", 64)
    before = 64
    blocks = (3, 4, 6 if depth == 50 else 23, 3)
    for stage, (number, width) in enumerate(zip(blocks, WIDTHS), start=1):
        for i in range(number):
            block = f"layer{stage}.{i}"
            add(f"{block}.conv1.weight", width, before, 1, 1)
            normalize(f"{block}.bn1", width)
            add(f"{block}.conv2.weight", width, width // 32, 3, 3, spread=0.1)
            normalize(f"{block}.bn2", width)
            add(f"{block}.conv3.weight", 2 * width, width, 1, 1)
            normalize(f"{block}.bn3", 2 * width)
            if i == 0:
                add(f"{block}.downsample.0.weight", 2 * width, before, 1, 1)
                normalize(f"{block}.downsample.1", 2 * width)
            before = 2 * width
    add("fc.weight", 1000, 2048)
    add("fc.bias", 1000)
    return state


class Server:
    """Serves a folder on loopback, and counts what is asked for."""

    def __init__(self, folder):
        counts = self.counts = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                counts.append(self.path)

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serves files as of torchvision and timm, which end in their hashes."""
    import torch

    folder = tmp_path_factory.mktemp("published")
    server = Server(folder)
    server.names = {}
    for depth in (50,):
        path = folder / "file.pth"
        torch.save(make_state(depth), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        name = f"resnext{depth}_32x4d-{digest}.pth"
        path.rename(folder / name)
        server.names[depth] = name
    yield server
    server.server.shutdown()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for depth, file in server.names.items():
        name = public_files.DEFAULTS[f"resnext{depth}_32x4d"]
        entry = public_files.PUBLIC_FILES[name]
        monkeypatch.setitem(
            public_files.PUBLIC_FILES,
            name,
            entry._replace(url=server.url + file),
        )
    server.counts.clear()
    return server


def test_names_are_those_of_the_table_and_resnext():
    assert is_public_name("resnext") and is_public_name("resnet50.tv2")
    assert is_public_name("resnext101_32x4d")
    assert not is_public_name("resnet50.pth") and not is_public_name(None)
    assert not is_public_name("resnet50.keras")
    assert is_public_name("resnet50.tv3")  # Meant as one.


def test_large_starts_as_resnext(published, capsys):
    sizes = {"input_shape": (64, 64, 3), "classifier_activation": None}
    model = EPSANet50Large(weights="resnext", **sizes)
    text = capsys.readouterr().out
    assert "License: BSD-3" in text and "torchvision" in text
    assert "Initialized from ResNeXt-50 32x4d" in text
    # One that has the ResNeXt's own layers.
    source = EPSANet((3, 4, 6, 3), WIDTHS, (3,), (32,), expansion=2, **sizes)
    from keras_epsanet import inherit_weights

    path = next(iter(published.names.values()))
    folder = keras.utils.get_file(
        path, published.url + path, cache_subdir="models/keras_epsanet"
    )
    inherit_weights(source, folder, verbose=False)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3))
    expected = source.predict(images.astype("float32"), verbose=0)
    found = model.predict(images.astype("float32"), verbose=0)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert expected.std() > 1e-3

    # The second time the converted file serves, without PyTorch.
    downloads = len(published.counts)
    again = EPSANet50Large(weights="resnext", classes=10, **sizes)
    text = capsys.readouterr().out
    assert len(published.counts) == downloads and "License" not in text
    assert "1 left as they were (predictions)" in text
    psa = "conv5_block3_psa"
    np.testing.assert_array_equal(
        again.get_layer(psa).spc.convolutions[3].kernel,
        model.get_layer(psa).spc.convolutions[3].kernel,
    )


def test_the_converted_file_needs_no_pytorch(published, monkeypatch):
    model = small_stem_model()
    first = read_public_resnet(model, "resnext")
    monkeypatch.setattr(public_resnets, "import_for_files", refuse)
    monkeypatch.setattr(public_resnets, "download", refuse)
    second = read_public_resnet(model, "resnext")
    assert list(first.state) == list(second.state)
    for key, array in first.state.items():
        np.testing.assert_array_equal(array, second.state[key])


def test_a_damaged_conversion_is_made_anew(published, tmp_path):
    model = small_stem_model()
    read_public_resnet(model, "resnext")
    (path,) = (tmp_path / "models/keras_epsanet").glob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert read_public_resnet(model, "resnext").blocks == (3, 4, 6, 3)
    assert path.stat().st_size == len(whole)


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
        raise ImportError("pip install keras-epsanet[torch]")

    monkeypatch.setattr(public_resnets, "import_for_files", missing)
    with pytest.raises(ImportError, match="pip install"):
        read_public_resnet(small_stem_model(), "resnext")


def test_a_failed_download_is_said(published):
    name = public_files.DEFAULTS["resnext50_32x4d"]
    entry = public_files.PUBLIC_FILES[name]
    public_files.PUBLIC_FILES[name] = entry._replace(
        url=published.url + "other-12345678.pth"
    )
    with pytest.raises(OSError, match="404"):
        read_public_resnet(small_stem_model(), "resnext")
