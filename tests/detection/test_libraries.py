"""How the detectors of other libraries start; they train in tests/models."""

import sys

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import libraries


@pytest.fixture
def backbone():
    return EPSANetBackbone(
        *((1, 1, 1, 1), (64, 64, 64, 64), (3, 5), (1, 4)),
        image_shape=(64, 64, 3),
    )


def decode(model, library):
    """The least score that a box must have, by what is found."""
    decoder = model.prediction_decoder
    assert isinstance(decoder, library.layers.NonMaxSuppression)
    assert decoder.from_logits and decoder.bounding_box_format == "xyxy"
    return decoder.confidence_threshold


def test_kerascv_s_finds_what_is_hardly_certain(backbone):
    keras_cv = pytest.importorskip("keras_cv")
    model = libraries.keras_cv_retinanet(backbone, 3)
    assert decode(model, keras_cv) == 0.05
    assert model.bounding_box_format == "xyxy"
    assert model.num_classes == 3


def test_kerashub_s_has_its_prior_on_the_classes(backbone):
    keras_hub = pytest.importorskip("keras_hub")
    model = libraries.keras_hub_retinanet(backbone, 3)
    assert decode(model, keras_hub) == 0.05
    prior = model.classification_head.prediction_layer.bias
    scores = keras.ops.sigmoid(keras.ops.convert_to_numpy(prior))
    np.testing.assert_allclose(np.asarray(scores), 0.01, rtol=1e-5)
    boxes = keras.ops.convert_to_numpy(model.box_head.prediction_layer.bias)
    assert not boxes.any()
    for head in (model.box_head, model.classification_head):
        kernel = keras.ops.convert_to_numpy(head.prediction_layer.kernel)
        # As others start, 0.01; KerasHub itself with 0.05.
        assert 0.005 < kernel.std() < 0.02


def test_what_a_library_itself_lacks_is_told_as_it_is(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr(libraries.importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="'other'"):
        libraries.keras_cv_retinanet(None, 3)


@pytest.mark.parametrize("name", ["keras_cv", "keras_hub"])
def test_a_library_that_is_missing_is_named_with_the_command(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    make = getattr(libraries, f"{name}_retinanet")
    with pytest.raises(ImportError, match=f"needs {name}: pip install {name}"):
        make(None, 3)
