import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANet50Small, ResNet, load_torch_weights
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


@pytest.mark.parametrize("attention", [None, "eca", "res2net"])
def test_poolings_that_no_published_network_has_are_refused(attention):
    model = ResNet(
        (1, 1),
        (64, 128),
        attention=attention,
        downsampling="average",
        stem_filters=(8, 8, 16),
        input_shape=(32, 32, 3),
    )
    with pytest.raises(ValueError, match="Only ResNeSt has average.*Received"):
        network_entries(model)


def test_attention_without_published_weights_is_refused():
    model = ResNet((1,), (64,), attention="simam", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="psa, se, cbam.*a network with SimAM"):
        network_entries(model)


def test_a_resnet_without_attention_computes_what_pytorch_computes(
    torch_resnet,
):
    torch = pytest.importorskip("torch")
    source = torch_resnet((2, 1), (16, 32), classes=5)
    generator = torch.Generator().manual_seed(0)
    for key, tensor in source.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    model = ResNet(
        (2, 1),
        (16, 32),
        input_shape=(40, 56, 3),
        classes=5,
        classifier_activation=None,
    )
    load_torch_weights(model, source.state_dict())
    images = np.random.default_rng(0).standard_normal((2, 40, 56, 3))
    images = images.astype("float32")
    with torch.no_grad():
        expected = source(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    logits = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(
        logits, expected.numpy(), rtol=0, atol=1e-5 * np.abs(logits).max()
    )
