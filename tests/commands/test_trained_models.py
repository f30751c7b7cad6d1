import keras
import pytest

from keras_epsanet import EPSANetBackbone, training
from keras_epsanet.commands.trained_models import load_classifier, model_file
from keras_epsanet.detection import RetinaNet
from keras_epsanet.layers import ClassNames
from keras_epsanet.training.recipe_file import FILE


@pytest.fixture
def run(tmp_path):
    """Folder of the training of a classifier, which has ended."""
    image = keras.Input((4, 4, 3))
    x = keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(image))
    keras.Model(image, ClassNames(["fig", "pear"])(x)).save(
        tmp_path / "model.keras"
    )
    recipe = training.ClassifierRecipe().to_json()
    (tmp_path / FILE).write_text(recipe)
    return tmp_path


def test_the_model_of_a_run_is_that_of_its_file(run):
    file = str(run / "model.keras")
    assert model_file(str(run)) == model_file(file) == file
    for path in (str(run), file):
        assert load_classifier(path).layers[-1].get_config()["names"] == [
            "fig",
            "pear",
        ]


def test_a_run_that_has_not_ended_is_refused(run):
    (run / "model.keras").unlink()
    with pytest.raises(ValueError, match="has ended, with model.keras"):
        load_classifier(str(run))
    assert model_file(str(run / "none")) == str(run / "none")


def test_the_run_of_a_detector_is_called_so(run):
    (run / FILE).write_text(training.COCO.to_json())
    with pytest.raises(ValueError, match="is the run of a detector; it must"):
        load_classifier(str(run))


def test_a_detector_is_no_classifier(tmp_path):
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    path = tmp_path / "detector.keras"
    RetinaNet(backbone, 2, class_names=["fig", "pear"]).save(path)
    with pytest.raises(ValueError, match="it is a detector, which `keras-ep"):
        load_classifier(str(path))
