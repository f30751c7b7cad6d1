"""What the tests share: reference numbers, a publisher of weights."""

import functools
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import zlib

import keras
import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"
# Tests of which a case takes two seconds and more, without their parameters.
SLOW = frozenset((GOLDEN.parent / "slow.txt").read_text().split())

if keras.backend.backend() == "jax":
    # Otherwise JAX turns every float64 into a float32.
    import jax

    jax.config.update("jax_enable_x64", True)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.partition("[")[0] in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every test has the same random numbers, in any order or alone.

    They begin before the fixtures, which draw weights as well.
    """
    keras.utils.set_random_seed(0)


def golden_weight(key, shape):
    """The weight that the reference numbers were computed with."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if leaf == "running_mean":
        array = 0.1 * random.standard_normal(shape)
    elif leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        array = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        array = 0.1 * random.standard_normal(shape)
    else:
        array = random.standard_normal(shape)
        array *= np.sqrt(2 / np.prod(shape[1:]))
    return array.astype("float32")


@pytest.fixture
def golden():
    """Function from the name of a golden file to its arrays."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture
def golden_state_dict():
    """Function from the name of a variant to its reference state dict."""

    def load(variant):
        shapes = json.loads((GOLDEN / "state_dict_shapes.json").read_text())
        return {
            key: golden_weight(key, shape)
            for key, shape in shapes[variant].items()
        }

    return load


def golden_images(shape):
    """The images that the authors' attention and networks were called with."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(b"images")))
    return random.standard_normal(shape).astype("float32")


@pytest.fixture(scope="session")
def make_golden_weight():
    """Function from a name and a shape to a reference weight."""
    return golden_weight


@pytest.fixture(scope="session")
def make_golden_images():
    """Function from a shape to the reference images of attention."""
    return golden_images


@pytest.fixture(scope="session")
def published_shapes():
    """Function from the name of a network and its blocks to its entries.

    The result is a dictionary from the names of the authors to shapes.
    """
    path = GOLDEN / "attention" / "state_dicts.json"
    networks = json.loads(path.read_text())

    def expand(network, blocks=(3, 4, 6, 3)):
        shapes = {}
        for key, shape in networks[network].items():
            # "layer2.*" is any block but the first one of its stage.
            stage = re.search(r"layer(\d)\.\*", key)
            others = range(1, blocks[int(stage[1]) - 1]) if stage else ["*"]
            for block in others:
                shapes[key.replace("*", str(block))] = tuple(shape)
        return shapes

    return expand


@pytest.fixture(scope="session")
def published_state(published_shapes):
    """Function from the name of a network to its reference state dict."""

    def make(network):
        state = {}
        for key, shape in published_shapes(network).items():
            state[key] = golden_weight(key, shape)
            # So that the outputs of many blocks do not add up.
            if key.endswith((".bn3.weight", ".conv3.bn.weight")):
                state[key] /= 4
        return state

    return make


@pytest.fixture
def resnet_shapes():
    """Names and shapes of torchvision's and timm's ResNets."""
    return json.loads((GOLDEN / "resnet_shapes.json").read_text())


@pytest.fixture
def resnet_state():
    """Function that makes a state dict in torchvision's names, as its files."""

    def make(
        blocks=(2, 1), filters=(16, 32), groups=4, expansion=2, classes=10
    ):
        shapes = {"conv1.weight": (64, 3, 7, 7)}
        channels, norms = 64, {"bn1": 64}
        for stage, width in enumerate(filters, start=1):
            for i in range(blocks[stage - 1]):
                block, output = f"layer{stage}.{i}", expansion * width
                inner = width // groups
                shapes[f"{block}.conv1.weight"] = (width, channels, 1, 1)
                shapes[f"{block}.conv2.weight"] = (width, inner, 3, 3)
                shapes[f"{block}.conv3.weight"] = (output, width, 1, 1)
                norms |= {f"{block}.bn{n}": width for n in (1, 2)}
                norms[f"{block}.bn3"] = output
                if i == 0 and (stage > 1 or channels != output):
                    key = f"{block}.downsample"
                    shapes[f"{key}.0.weight"] = (output, channels, 1, 1)
                    norms[f"{key}.1"] = output
                channels = output
        for key, size in norms.items():
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{key}.{leaf}"] = (size,)
            shapes[f"{key}.num_batches_tracked"] = ()
        if classes:
            shapes |= {"fc.weight": (classes, channels), "fc.bias": (classes,)}
        return {key: golden_weight(key, x) for key, x in shapes.items()}

    return make


@pytest.fixture
def set_golden_weights():
    """Function that gives a built PSA or SEWeight its reference weights."""

    def assign(psa=None, se=None):
        if psa is not None:
            for i, conv in enumerate(psa.spc.convolutions, start=1):
                height, width, inputs, outputs = conv.kernel.shape
                weight = golden_weight(
                    f"psa.conv_{i}.weight", (outputs, inputs, height, width)
                )
                conv.kernel.assign(weight.transpose(2, 3, 1, 0))
            prefix, se = "psa.se", psa.se
        else:
            prefix = "se"
        for name, dense in (("fc1", se.fc1), ("fc2", se.fc2)):
            inputs, outputs = dense.kernel.shape
            weight = golden_weight(
                f"{prefix}.{name}.weight", (outputs, inputs, 1, 1)
            )
            dense.kernel.assign(weight[:, :, 0, 0].T)
            dense.bias.assign(
                golden_weight(f"{prefix}.{name}.bias", (outputs,))
            )

    return assign


@pytest.fixture
def value_and_gradients():
    """Function that computes a loss and its gradients on every backend.

    `compute(layer, x, loss, training)` returns the value of
    `loss(layer(x))`, its gradient with respect to `x` and a list of those
    with respect to `layer.trainable_weights`. It updates moving statistics.
    """
    return {
        "tensorflow": _value_and_gradients_tensorflow,
        "jax": _value_and_gradients_jax,
        "torch": _value_and_gradients_torch,
    }[keras.backend.backend()]


def _value_and_gradients_tensorflow(layer, x, loss, training=False):
    import tensorflow as tf

    @tf.function
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(layer(x, training=training))
        weights = [w.value for w in layer.trainable_weights]
        return value, tape.gradient(value, (x, weights))

    value, (dx, gradients) = compute(tf.convert_to_tensor(x))
    # Those of a table that is looked up in are slices of it.
    gradients = [tf.convert_to_tensor(g).numpy() for g in gradients]
    return float(value), dx.numpy(), gradients


def _value_and_gradients_jax(layer, x, loss, training=False):
    import jax

    weights = layer.trainable_weights + layer.non_trainable_weights

    def compute(x, trainable, fixed):
        mapping = list(zip(weights, trainable + fixed))
        with keras.StatelessScope(mapping) as scope:
            value = loss(layer(x, training=training))
        fixed = [
            scope.get_current_value(w) for w in layer.non_trainable_weights
        ]
        return value, fixed

    compute = jax.jit(jax.value_and_grad(compute, (0, 1), has_aux=True))
    (value, fixed), (dx, gradients) = compute(
        jax.numpy.asarray(x),
        [w.value for w in layer.trainable_weights],
        [w.value for w in layer.non_trainable_weights],
    )
    for weight, new in zip(layer.non_trainable_weights, fixed):
        weight.assign(new)
    return float(value), np.asarray(dx), [np.asarray(g) for g in gradients]


def _value_and_gradients_torch(layer, x, loss, training=False):
    import torch

    x = torch.tensor(x, requires_grad=True)
    weights = [w.value for w in layer.trainable_weights]
    value = loss(layer(x, training=training))
    dx, *gradients = torch.autograd.grad(value, [x, *weights])
    to_numpy = keras.ops.convert_to_numpy
    return (
        float(value.detach()),
        to_numpy(dx),
        [to_numpy(gradient) for gradient in gradients],
    )


@pytest.fixture
def randomize():
    """Function that gives every weight of a model a value unlike its first.

    A fresh BatchNorm is (1, 0, 0, 1), with which much goes unnoticed.
    """

    def assign(model):
        random = np.random.default_rng(0)
        for weight in model.weights:
            if weight.dtype.startswith(("float", "bfloat")):
                low = 0.5 if weight.name == "moving_variance" else -0.5
                noise = random.uniform(low, low + 1, weight.shape)
                if len(weight.shape) > 1:
                    noise *= 2 * weight.numpy().astype("float32").std()
                weight.assign(noise)
        return model

    return assign


@pytest.fixture
def run_python(tmp_path):
    """Function that runs code in a fresh process and returns its output."""

    def run(code, **environment):
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    return run


class _FailingStorage:
    """`tf.io.gfile`, of which the calls from some number on fail.

    A copy that fails leaves half of the file, and a folder whose removal
    fails half of its files. With `after` the other calls have done their work
    before they fail.
    """

    def __init__(self):
        self.heal()

    def heal(self):
        self.fail(None)

    def fail(self, first, last=None, after=False):
        """Lets the calls from `first` to `last` fail, counted from 1 on."""
        self.calls, self.failed = 0, False
        self._first, self._last, self._after = first, last, after

    def _is_failing(self):
        self.calls += 1
        if self._first is None or self.calls < self._first:
            return False
        return self._last is None or self.calls <= self._last

    def __getattr__(self, name):
        import tensorflow as tf

        function = getattr(tf.io.gfile, name)

        def call(*arguments, **options):
            if not self._is_failing():
                return function(*arguments, **options)
            self.failed = True
            if name == "copy":
                source, target = arguments
                with open(source, "rb") as file:
                    half = file.read()[: os.path.getsize(source) // 2]
                with tf.io.gfile.GFile(target, "wb") as file:
                    file.write(half)
            elif name == "rmtree":
                files = [
                    f"{folder}/{x}"
                    for folder, _, names in tf.io.gfile.walk(*arguments)
                    for x in names
                ]
                for file in sorted(files)[len(files) // 2 :]:
                    tf.io.gfile.remove(file)
            elif self._after:
                function(*arguments, **options)
            raise tf.errors.UnavailableError(None, None, "storage is down")

        return call


@pytest.fixture
def failing_storage(monkeypatch):
    """A storage of which some calls fail, when it is told so."""
    from keras_epsanet import storage_tensorflow

    storage = _FailingStorage()
    monkeypatch.setattr(storage_tensorflow, "file_system", lambda _: storage)
    return storage


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

    def publish(self, name, content, table=None, **kwargs):
        """Saves what `torch.load` is to read, and lets `name` be its name.

        The file's name ends in its hash, as that of the real one does. The
        table is that of the names, that of the ResNets by default.
        """
        import torch

        from keras_epsanet.weights import public_files

        table = public_files.PUBLIC_FILES if table is None else table
        path = self._folder / "unnamed"
        torch.save(content, path, **kwargs)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        entry = table[name]
        file = entry.file_name.replace(entry.digest, digest)
        path = path.rename(self._folder / file)
        url = f"http://127.0.0.1:{self.server.server_port}/{file}"
        self._monkeypatch.setitem(table, name, entry._replace(url=url))
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
