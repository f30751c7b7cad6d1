import pathlib
import runpy
import sys

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet.models.variants import MODEL_CONFIGS

if keras.backend.backend() != "tensorflow":
    pytest.skip("the script needs TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/evaluate.py"
CLASSES = 7


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder like ImageNet's, of random images of seven classes."""
    folder = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    for split, count in (("train", 1), ("val", 3)):
        for label in range(CLASSES):
            path = folder / split / f"n{label:08d}"
            path.mkdir(parents=True)
            for i in range(count):
                image = random.integers(0, 256, (5, 6, 3))
                image = np.kron(image, np.ones((11, 11, 1)))
                keras.utils.save_img(path / f"{i}.jpeg", image, scale=False)
    return folder


@pytest.fixture
def weights(golden_state_dict, tmp_path):
    """Golden weights as a file of PyTorch and one of Keras."""
    import torch

    state = golden_state_dict("epsanet50_small")
    for name in ("fc.weight", "fc.bias"):
        state[name] = state[name][:CLASSES]
    torch_file = tmp_path / "golden.pth"
    tensors = {name: torch.tensor(array) for name, array in state.items()}
    torch.save(tensors, torch_file)
    network = keras_epsanet.EPSANet50Small(
        weights=str(torch_file), input_shape=(32, 32, 3), classes=CLASSES
    )
    network.save_weights(tmp_path / "golden.weights.h5")
    return torch_file, tmp_path / "golden.weights.h5", network


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    return runpy.run_path(str(SCRIPT), run_name="__main__")


def accuracies(network, folder):
    """Top-1 and top-5 by a plain loop over images and their predictions."""
    source = keras_epsanet.data.imagenet.open_source(folder)
    correct = np.zeros(2, int)
    count = 0
    batches = keras_epsanet.data.imagenet.evaluation_batches(
        source, batch_size=1, image_size=32
    )
    for image, label, weight in batches.as_numpy_iterator():
        assert weight == [1]
        x = keras_epsanet.preprocess_input(image)
        (probabilities,) = network.predict(x, verbose=0)
        order = np.argsort(-probabilities)
        correct += [np.argmax(label) in order[:k] for k in (1, 5)]
        count += 1
    assert count == 3 * CLASSES
    return 100 * correct / count


def test_accuracies_are_those_of_a_plain_loop(
    images, weights, monkeypatch, capsys
):
    *files, network = weights
    top1, top5 = accuracies(network, images)
    assert 0 < top1 < top5 < 100
    for file in files:
        arguments = f"--weights {file} --data {images} --batch-size 4"
        run(monkeypatch, *arguments.split(), "--image-size", "32")
        title, _, row = capsys.readouterr().out.splitlines()[-3:]
        assert title.startswith("Table 2")
        assert row.split() == [
            "epsanet50_small",
            "20.53",  # Of seven classes.
            "22.56",
            "3.62",
            "3.62",
            f"{top1:.2f}",
            "77.49",
            f"{top5:.2f}",
            "93.54",
        ]


def test_the_table_has_the_paper_s_networks():
    script = runpy.run_path(str(SCRIPT))
    assert set(script["TABLE_2"]) == set(script["MODELS"]) == set(MODEL_CONFIGS)


@pytest.mark.parametrize(
    "file, message",
    [
        ("none.weights.h5", "none.weights.h5"),
        ("golden.weights.h5", "has 7 classes, the model's 3"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    file, message, images, weights, tmp_path, monkeypatch
):
    folder = tmp_path / "three"
    for split in ("train", "val"):
        for label in range(3):
            path = folder / split / f"n{label:08d}"
            path.mkdir(parents=True)
            image = images / split / path.name / "0.jpeg"
            (path / "0.jpeg").write_bytes(image.read_bytes())
    with pytest.raises(SystemExit) as caught:
        arguments = ["--weights", tmp_path / file, "--data", folder]
        run(monkeypatch, *arguments, "--image-size", "32")
    assert caught.value.code.startswith("evaluate: ")
    assert message in caught.value.code
