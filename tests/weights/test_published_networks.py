"""Networks of the authors of attention: their names, and their logits."""

import pathlib
import re
import sys

import keras
import numpy as np
import pytest

from keras_epsanet import (
    AttentionSlot,
    ResNet50,
    ResNet101,
    load_torch_weights,
    save_torch_weights,
)
from keras_epsanet.attention import SE, GlobalContext
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.state_contents import common_names
from keras_epsanet.weights.torch_files import read_checkpoint

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "attention"))

from equations import dct_mask  # noqa: E402

torch = pytest.importorskip("torch")

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "attention"
LOGITS = np.load(GOLDEN / "logits.npz")
COUNTER = "num_batches_tracked"
BIASES = "with biases"  # SE is without, if it is called by its name.
# The attention of each network in the file of names.
NETWORKS = {
    "se": "se",
    "se PytorchInsight": BIASES,
    "se timm": BIASES,
    "se SRM": BIASES,
    "se MMPretrain": BIASES,
    "cbam": "cbam",
    "bam": "bam",
    "eca": "eca",
    "fca": "fca",
    "sa": "sa",
    "triplet": "triplet",
    "triplet root": "triplet",
    "srm": "srm",
    "pyconv": "pyconv",
    "sk": "sk",
    "split": "split",
    "res2net": "res2net",
    "abn": "abn",
    "gc": "gc",
}
# Those of 101 layers have the same names, or are there by another one.
DEEP = {name: name for name in NETWORKS if name != "sk"}
DEEP |= {"eca": "eca 101", "split": "split 101"}
FIRST = [name for name, attention in NETWORKS.items() if name == attention]
# SE's first publisher with biases has the names of the one without.
WRITTEN = [*FIRST, "se PytorchInsight"]
# One network for every attention, and one for every backend, are enough.
SHORT = FIRST if keras.backend.backend() == "tensorflow" else ["se"]


def make_network(name, function=ResNet50, **kwargs):
    attention = NETWORKS[name]
    if attention == BIASES:
        attention = SE(use_bias=True)
    if name == "gc":  # The backbone of a detector.
        attention = AttentionSlot(GlobalContext(), "residual", [2, 3, 4])
        kwargs |= {"include_top": False, "pooling": "avg"}
    if name == "abn":
        kwargs["branch_output"] = True
    return function(
        attention,
        input_shape=(None, None, 3),
        classifier_activation=None,
        **kwargs,
    )


@pytest.fixture(
    scope="module",
    params=[
        name if name in SHORT else pytest.param(name, marks=pytest.mark.large)
        for name in NETWORKS
    ],
)
def network(request, published_state, tmp_path_factory):
    """Name, state dict of the authors, and a model that has loaded it.

    The names are without what stands in front of all of the network.
    """
    name = request.param
    state = published_state(name)
    for key in state:
        if key.endswith("dct_layer.weight"):  # A buffer that is no weight.
            channels, size, _ = state[key].shape
            mask = dct_mask(channels, size).transpose(2, 0, 1)
            state[key] = mask.astype("float32")
    path = tmp_path_factory.mktemp("published") / "checkpoint.pth.tar"
    # As main.py of the ImageNet example leaves it, which most of them used.
    content = {
        f"module.{key}": torch.from_numpy(array) for key, array in state.items()
    }
    torch.save({"epoch": 100, "state_dict": content}, path)
    model = make_network(name, weights=path)
    path.unlink()
    return name, common_names(state), model


def test_the_logits_are_those_of_the_authors(network, make_golden_images):
    name, _, model = network
    # The code of BAM's authors takes square images only.
    size = (64, 64) if name == "bam" else (64, 96)
    outputs = keras.tree.flatten(model(make_golden_images((2, *size, 3))))
    names = [name, f"{name} branch"][: len(outputs)]
    for output, name in zip(outputs, names, strict=True):
        expected = LOGITS[name]
        error = np.abs(keras.ops.convert_to_numpy(output) - expected).max()
        assert error <= 1e-5 * np.abs(expected).max()


def test_every_entry_has_arrived(network):
    _, state, model = network
    entries = network_entries(model, state)
    found = {entry.key: entry.to_torch() for entry in entries}
    wanted = {k: v for k, v in state.items() if not k.endswith(COUNTER)}
    assert found.keys() == wanted.keys()
    for key, array in wanted.items():
        # The tables of FCA are computed, all others copied.
        tolerance = 1e-6 if key.endswith("dct_layer.weight") else 0
        np.testing.assert_allclose(found[key], array, 0, tolerance, key)
    named = {id(entry.variable) for entry in entries}
    assert {id(weight) for weight in model.weights} <= named


# Not of the attention: what all ResNets have, and what is no weight.
PLAIN = re.compile(
    r"(conv1|bn1|fc)\."
    r"|.*\.(conv1|bn1|bn2|conv3|bn3|downsample)\."
    rf"|.*({COUNTER}|dct_layer\.weight)"
)


def broken(state):
    """Yields what is wrong with each of three state dicts, and these."""
    attention = [key for key in state if not PLAIN.match(key)]
    key = attention[len(attention) // 2]
    without = {k: v for k, v in state.items() if k != key}
    yield f"missing: {key}$", without
    yield f"unexpected: {key}2$", {**state, f"{key}2": state[key]}
    # Of as many numbers, for which there is room.
    other = state[key].reshape(*state[key].shape, 1)
    yield f"of another shape: {key} ", {**state, key: other}


def test_files_that_do_not_fit_are_refused(network):
    _, state, model = network
    before = model.get_weights()
    zeros = {k: np.zeros_like(v) for k, v in state.items()}
    tables = {k: v for k, v in state.items() if "dct_layer" in k}
    for message, wrong in broken({**zeros, **tables}):
        with pytest.raises(ValueError, match=f"left as it was.*{message}"):
            load_torch_weights(model, wrong)
    for array, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, weight)


def test_the_names_of_the_first_publisher_are_written(network, tmp_path):
    name, state, model = network
    if name not in WRITTEN:
        pytest.skip("it is written in the names of another publisher")
    path = tmp_path / "written.pth"
    save_torch_weights(model, path)
    written = read_checkpoint(path)
    path.unlink()
    assert written.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_allclose(written[key], array, 0, 1e-6, key)
        assert written[key].shape == array.shape


@pytest.mark.large
@pytest.mark.parametrize("name", DEEP)
def test_names_of_101_layers(name, published_shapes):
    model = make_network(name, ResNet101)
    shapes = common_names(published_shapes(DEEP[name], (3, 4, 23, 3)))
    wanted = {k: v for k, v in shapes.items() if not k.endswith(COUNTER)}
    entries = network_entries(model, wanted)
    assert {entry.key: entry.torch_shape for entry in entries} == wanted
