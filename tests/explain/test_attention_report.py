"""The part of a page about attention: what is computed for which image."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.attention import CBAM, SE, GlobalContext
from keras_epsanet.detection import RetinaNet
from keras_epsanet.detection.pictures import prepare
from keras_epsanet.explain import attention_report
from keras_epsanet.explain.attention_report import attention_section
from keras_epsanet.explain.attention_weights import attention
from keras_epsanet.explain.map_sizes import resize

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(record):
    """What is drawn: names and arguments."""
    return record(
        attention_report,
        *("draw_attention", "draw_scale_maps", "draw_pixel_maps"),
    )


def of(drawn, name):
    return [arguments for kind, *arguments in drawn if kind == name]


def test_weights_of_several_batches_are_averaged(
    images, drawn, colors, with_scales
):
    model = with_scales()
    batches = [np.full((2, 16, 16, 3), 9.0), np.full((1, 24, 16, 3), 200.0)]
    models = {"plain": colors(), "psa": model}
    section = attention_section(
        models, images, "folder", {"plain": [], "psa": batches}
    )
    ((found, path),) = of(drawn, "draw_attention")
    assert path == "folder/attention_2.png"
    parts = [attention(model, x) for x in batches]
    np.testing.assert_allclose(
        found.layers[0].scales,
        np.concatenate([x.layers[0].scales for x in parts]),
    )
    assert len(found.predicted) == 3
    maps = of(drawn, "draw_scale_maps")
    assert [x[0].shape for x in maps] == [(24, 32, 3), (32, 24, 3)]
    assert [x[3] for x in maps] == [
        "folder/scales_2_1.png",
        "folder/scales_2_2.png",
    ]
    assert [len(row) for row in section.rows] == [1, 2]
    assert "mean weights of the scales in each stage" in section.text
    assert "attention to pixels" not in section.text


def test_models_without_attention_have_no_such_section(
    images, drawn, colors, red_detector
):
    assert attention_section({"plain": colors()}, images, "x") is None
    assert attention_section({"plain": red_detector}, images, "x") is None
    assert not drawn


def test_batches_alone_have_no_maps(drawn, with_scales):
    batches = {"psa": [np.full((2, 16, 16, 3), 9.0)]}
    section = attention_section({"psa": with_scales()}, {}, "x", batches)
    assert [len(row) for row in section.rows] == [1]
    assert "maps below" not in section.text


def test_maps_of_scales_are_of_the_first_images(drawn, with_scales):
    random = np.random.default_rng(0)
    images = {
        f"{i}.png": random.integers(0, 256, (16, 16, 3)) for i in range(5)
    }
    section = attention_section({"psa": with_scales()}, images, "folder")
    captions = [x.caption for x in section.rows[1]]
    assert captions == [f"psa, {i}.png" for i in range(4)]
    # Without batches the weights are those of all images.
    ((found, _),) = of(drawn, "draw_attention")
    assert len(found.predicted) == 5
    assert found.layers[0].scale_maps is found.layers[0].pixels is None
    pixels, last, index, _ = of(drawn, "draw_scale_maps")[3]
    np.testing.assert_array_equal(pixels, images["3.png"])
    np.testing.assert_allclose(
        last.layers[0].scales[index], found.layers[0].scales[3], atol=1e-6
    )


@pytest.mark.parametrize(
    "layer, pictures, texts",
    [
        (SE(), ["draw_attention"], ["spread of its factors"]),
        (GlobalContext(), 2 * ["draw_pixel_maps"], ["attention to pixels"]),
        (
            CBAM(),
            ["draw_attention", *2 * ["draw_pixel_maps"]],
            ["spread of its factors", "attention to pixels"],
        ),
    ],
)
def test_attention_without_scales_shows_what_it_weighs(
    images, drawn, layer, pictures, texts
):
    image = keras.Input((None, None, 3))
    x = layer(keras.layers.Conv2D(16, 3)(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3)(x))
    section = attention_section({"one": model}, images, "folder")
    assert [name for name, *_ in drawn] == pictures
    for text in ("spread of its factors", "attention to pixels", "mean weight"):
        assert (text in section.text) == (text in texts)
    for pixels, found, _, _ in of(drawn, "draw_pixel_maps"):
        # A 3×3 convolution without padding leaves out the border.
        height, width = pixels.shape[:2]
        assert found.layers[0].pixels.shape == (1, height - 2, width - 2)


def test_the_backbone_of_a_detector_is_shown_without_its_padding(drawn):
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    detector = RetinaNet(backbone, 2, image_size=(64, 96))
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3))
    section = attention_section({"net": detector}, {"a.png": image}, "folder")
    assert [len(row) for row in section.rows] == [1, 1]
    ((found, _),) = of(drawn, "draw_attention")
    assert found.predicted is None
    assert list(found.scales_by_stage()) == ["conv2", "conv3", "conv4", "conv5"]
    # The detector takes the image as 64×85 pixels, padded to 64×96.
    inputs = prepare(image, (64, 96)).inputs[None]
    expected = attention(detector, inputs)
    np.testing.assert_allclose(
        found.layers[0].scales, expected.layers[0].scales, atol=1e-6
    )
    ((pixels, cut, index, _),) = of(drawn, "draw_scale_maps")
    assert pixels.shape == (64, 85, 3) and pixels.dtype == "uint8"
    assert abs(pixels.mean() - image.mean()) < 2
    assert len(cut.layers) == 4
    for layer, whole in zip(cut.layers, expected.layers):
        maps = resize(whole.scale_maps, (64, 96))[..., :85]
        np.testing.assert_allclose(layer.scale_maps, maps, atol=1e-5)
