"""`train-coco --weights` with the file of a detector of this package."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, detection, training
from keras_epsanet.commands import train_coco
from keras_epsanet.detection import from_recipe
from keras_epsanet.models.variants import MODEL_CONFIGS

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


@pytest.fixture
def own_file(monkeypatch, tmp_path):
    """A small Faster R-CNN for 3 classes, and its file."""
    network = {
        "stackwise_num_blocks": (1, 1, 1, 1),
        "stackwise_num_filters": (16, 16, 16, 16),
        "kernel_sizes": (3, 5, 7, 9),
        "groups": (1, 4, 4, 4),
        "reduction": 4,
    }
    monkeypatch.setitem(MODEL_CONFIGS, "tiny", network)
    backbone = EPSANetBackbone.from_variant("tiny")
    detector = detection.FasterRCNN(backbone, 3, sampling_ratio=1)
    detector.save(tmp_path / "x.keras")
    return detector, str(tmp_path / "x.keras")


def test_a_detector_of_this_package_is_trained_further(own_file, tmp_path):
    trained, path = own_file
    output = tmp_path / "run"
    options = "--scenes 2 --epochs 1 --batch-size 2 --image-size 64 "
    # With which nothing moves.
    options += "--longer-side 64 --norm-eval --optimizer sgd --l2 0 "
    options += "--learning-rate 1e-20 --num-samples 8"
    arguments = ["--weights", path, "--output", str(output), *options.split()]
    with pytest.warns(UserWarning, match="3 classes.*for 10: everything else"):
        train_coco.main(arguments)
    recipe = training.CocoRecipe.from_json((output / "recipe.json").read_text())
    assert (recipe.detector, recipe.model) == ("faster_rcnn", "tiny")
    assert recipe.sampling_ratio == 1
    found = from_recipe.load_detector(str(output))
    assert isinstance(found, detection.FasterRCNN) and found.num_classes == 10
    theirs = {x.path: x for x in trained.weights}
    new = set()
    for weight in found.weights:
        values, wanted = map(
            keras.ops.convert_to_numpy, (weight, theirs.pop(weight.path))
        )
        if values.shape == wanted.shape:
            np.testing.assert_allclose(values, wanted, atol=1e-6)
        else:
            new.add(weight.path.partition("/")[0])
    assert not theirs and new == {"class_logits", "box_deltas"}
    note = (output / "initialized_from.txt").read_text().splitlines()
    assert note[0] == path


@pytest.mark.parametrize(
    "option, value, told",
    [
        ("detector", "mask_rcnn", "faster_rcnn"),
        ("model", "epsanet50_small", "tiny"),
    ],
)
def test_another_detector_than_that_of_the_file_is_refused(
    option, value, told, own_file, tmp_path
):
    output = tmp_path / "run"
    arguments = ["--weights", own_file[1], "--output", str(output)]
    message = f"^train_coco: .*{option}={told}.*: --{option} {value}$"
    with pytest.raises(SystemExit, match=message):
        train_coco.main([*arguments, f"--{option}", value])
    assert not output.exists()
