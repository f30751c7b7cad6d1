"""Folders to be published, loaded in a fresh process."""

import numpy as np
import pytest

from keras_epsanet.hub import published

READ = {
    "preset": """
import keras_hub
model = keras_hub.models.ImageClassifier.from_preset("published")
assert model.backbone.__class__ is keras_epsanet.EPSANetBackbone
assert keras_epsanet.hub.read_class_names("published")[:2] == ["cat", "dog"]
""",
    "timm": """
network = keras_epsanet.hub.load_timm("published", include_preprocessing=True)
config = keras_epsanet.hub.read_timm_config("published")
assert config["label_names"][:2] == ["cat", "dog"]
image = keras.Input((None, None, 3))
size = config["pretrained_cfg"]["input_size"][1:]
model = keras.Model(image, network(keras.layers.Resizing(*size)(image)))
""",
}


@pytest.mark.parametrize("kind", published.WRITERS)
def test_a_fresh_process_predicts_the_same(
    kind, make_classifier, images, run_python, tmp_path
):
    if kind == "preset":
        pytest.importorskip("keras_hub")
    model = make_classifier()
    published.WRITERS[kind](model, str(tmp_path / "published"))
    np.save(tmp_path / "images.npy", images)
    code = "import keras, numpy as np, keras_epsanet\n" + READ[kind]
    code += "outputs = model.predict(np.load('images.npy'), verbose=0)\n"
    run_python(code + "np.save('outputs.npy', outputs)")
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"),
        model.predict(images, verbose=0),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", published.WRITERS)
@pytest.mark.parametrize("is_inside", [False, True])
def test_it_is_opened_for_the_images_that_the_model_takes(
    kind, is_inside, make_classifier, images, tmp_path, randomize
):
    from keras_epsanet import EPSANet

    if kind == "preset":
        pytest.importorskip("keras_hub")
    model = make_classifier()
    if not is_inside:
        model = randomize(
            EPSANet(
                *((1, 1), (16, 32), (3, 5), (1, 4)),
                reduction=4,
                input_shape=(50, 44, 3),
                classes=3,
            )
        )
        images = images / 100
    published.WRITERS[kind](model, str(tmp_path / "published"))
    run = published.open_published(str(tmp_path / "published"), kind, model)
    np.testing.assert_allclose(
        run(images), model.predict(images, verbose=0), atol=1e-5
    )
