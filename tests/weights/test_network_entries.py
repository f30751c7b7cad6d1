from keras_epsanet import EPSANet50Small
from keras_epsanet.weights.network_entries import network_entries


def test_the_published_names_of_the_default_model(golden_state_dict):
    entries = network_entries(EPSANet50Small(include_top=False))
    expected = golden_state_dict("epsanet50_small")
    shapes = {
        key: array.shape
        for key, array in expected.items()
        if not key.startswith("fc.") and not key.endswith("_tracked")
    }
    assert {entry.key: entry.torch_shape for entry in entries} == shapes
