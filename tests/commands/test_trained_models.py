import keras
import pytest

from keras_epsanet import EPSANetBackbone, training
from keras_epsanet.commands.trained_models import (
    load_classifier,
    load_classifier_or_detector,
    model_file,
)
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
    with pytest.raises(
        ValueError, match="ended. Received: one without model.keras$"
    ):
        load_classifier(str(run))
    assert model_file(str(run / "none")) == str(run / "none")


def test_the_run_of_a_detector_is_called_so(run):
    (run / FILE).write_text(training.COCO.to_json())
    with pytest.raises(
        ValueError, match="run of a classifier. Received: that of a"
    ):
        load_classifier(str(run))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """File of a detector without class names."""
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    path = tmp_path_factory.mktemp("detector") / "model.keras"
    RetinaNet(backbone, 2).save(path)
    return path


def test_a_detector_is_no_classifier(detector):
    with pytest.raises(
        ValueError, match="a classifier; .* Received: a detector$"
    ):
        load_classifier(str(detector))


def test_either_kind_is_taken_with_its_classes(run, detector):
    found = load_classifier_or_detector(str(run))
    assert found.layers[-1].get_config()["names"] == ["fig", "pear"]
    found = load_classifier_or_detector(str(detector))
    assert list(found.class_names) == ["class 0", "class 1"]
    # Of a training its recipe tells, and the names are in a file of its own.
    (detector.parent / FILE).write_text(training.CocoRecipe().to_json())
    (detector.parent / "class_names.json").write_text('["fig", "pear"]')
    found = load_classifier_or_detector(str(detector.parent))
    assert list(found.class_names) == ["fig", "pear"]


def test_what_is_neither_is_refused(run, tmp_path):
    (run / "model.keras").unlink()
    with pytest.raises(
        ValueError, match="ended. Received: one without model.keras$"
    ):
        load_classifier_or_detector(str(run))
    image = keras.Input((4,))
    path = str(tmp_path / "dense.keras")
    keras.Model(image, keras.layers.Dense(2)(image)).save(path)
    with pytest.raises(ValueError, match="ClassNames|names"):
        load_classifier_or_detector(path)
