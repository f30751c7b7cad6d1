"""What the tests of weights share: ResNets of PyTorch, and a publisher."""

import functools
import hashlib
import http.server
import threading

import pytest

from keras_epsanet.weights import public_files


def _make_resnet(blocks, filters, groups=1, expansion=4, classes=1000):
    """A bottleneck ResNet of PyTorch with torchvision's names."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before, width, stride):
            super().__init__()
            after = width * expansion
            self.conv1 = nn.Conv2d(before, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(
                width, width, 3, stride, 1, groups=groups, bias=False
            )
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, after, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(after)
            self.downsample = nn.Sequential()
            if stride > 1 or before != after:
                self.downsample = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride, bias=False),
                    nn.BatchNorm2d(after),
                )

        def forward(self, x):
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2(self.conv2(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + self.downsample(x)).relu()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            before = 64
            for stage, (number, width) in enumerate(zip(blocks, filters), 1):
                layer = nn.Sequential()
                for i in range(number):
                    stride = 2 if stage > 1 and i == 0 else 1
                    layer.append(Block(before, width, stride))
                    before = width * expansion
                setattr(self, f"layer{stage}", layer)
            self.fc = nn.Linear(before, classes)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            x = nn.functional.max_pool2d(x, 3, 2, 1)
            for stage in range(1, len(blocks) + 1):
                x = getattr(self, f"layer{stage}")(x)
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="session")
def torch_resnet():
    """Function that makes a ResNet of PyTorch of random numbers."""
    return _make_resnet


class _Publisher:
    """Serves files of the real names on loopback, in the place of the web."""

    def __init__(self, folder, monkeypatch):
        asked = self.asked = []
        self._folder, self._monkeypatch = folder, monkeypatch

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, name, content, **kwargs):
        """Saves what `torch.load` is to read, and lets `name` be its name.

        The file's name ends in its hash, as that of the real one does.
        """
        import torch

        path = self._folder / "unnamed"
        torch.save(content, path, **kwargs)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        entry = public_files.PUBLIC_FILES[name]
        file = entry.file_name.replace(entry.digest, digest)
        path = path.rename(self._folder / file)
        url = f"http://127.0.0.1:{self.server.server_port}/{file}"
        self._monkeypatch.setitem(
            public_files.PUBLIC_FILES, name, entry._replace(url=url)
        )
        return path


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A publisher of weights, and an empty cache in `tmp_path`."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "published"
    folder.mkdir()
    publisher = _Publisher(folder, monkeypatch)
    yield publisher
    publisher.server.shutdown()
