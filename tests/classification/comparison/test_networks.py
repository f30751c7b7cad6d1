import pytest

from keras_epsanet import ResNet50
from keras_epsanet.classification.comparison.networks import (
    FRAMES,
    NAMES,
    Frame,
    build_network,
    check_names,
)

TINY = Frame("tiny", (1, 1), (16, 16))


@pytest.mark.large
@pytest.mark.parametrize("name", NAMES)
def test_every_attention_fits_the_narrow_frame(name):
    network = build_network(name, FRAMES["narrow"], 48, 10)
    outputs = 2 if name == "abn" else 1
    assert [x.shape for x in network.outputs] == [(None, 10)] * outputs


@pytest.mark.parametrize("name", ["sk", "res2net", "pyconv"])
def test_peers_bring_their_published_networks_along(name):
    sizes = {"input_shape": (32, 32, 3), "classes": 10}
    ours = build_network(name, FRAMES["resnet50"], 32, 10)
    assert ours.count_params() == ResNet50(name, **sizes).count_params()


def test_a_width_that_does_not_fit_is_refused_with_the_name():
    with pytest.raises(ValueError, match=r"psa does not fit .*filters=\(16"):
        build_network("psa", TINY, 32, 10)


def test_an_attention_without_a_place_is_refused():
    with pytest.raises(ValueError, match="non_local has no place"):
        build_network("non_local", TINY, 32, 10)


def test_an_unknown_name_is_refused_with_one_that_is_near():
    with pytest.raises(ValueError, match="Is cbam meant.*Received: cbma"):
        check_names(["se", "cbma"])


def test_a_name_twice_is_refused():
    with pytest.raises(ValueError, match="se twice"):
        check_names(["se", "eca", "se"])
