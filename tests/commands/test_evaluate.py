import csv
import shutil

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet import EPSANet
from keras_epsanet.classification.imagenet import evaluation as table_2
from keras_epsanet.classification.results import Results
from keras_epsanet.commands import evaluate
from keras_epsanet.data import imagenet
from keras_epsanet.models.variants import MODEL_CONFIGS

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

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


def write_golden(state, folder):
    """Writes reference weights for PyTorch, cut to the classes."""
    import torch

    for name in ("fc.weight", "fc.bias"):
        state[name] = state[name][:CLASSES]
    tensors = {name: torch.tensor(array) for name, array in state.items()}
    torch.save(tensors, folder / "golden.pth")
    return folder / "golden.pth"


def smallest(**kwargs):
    return EPSANet((1,), (16,), (3, 5), (1, 4), reduction=4, **kwargs)


@pytest.fixture
def small_weights(tmp_path, monkeypatch, randomize):
    """File and network, which stands for EPSANet-50 Small."""
    monkeypatch.setitem(table_2.MODELS, "epsanet50_small", smallest)
    network = randomize(smallest(input_shape=(32, 32, 3), classes=CLASSES))
    # Otherwise all images look alike to so small a network.
    network.layers[-1].kernel.assign(100 * network.layers[-1].kernel)
    path = tmp_path / "small.weights.h5"
    network.save_weights(path)
    return path, network


def run(*arguments):
    evaluate.main(list(map(str, arguments)))


def accuracies(network, folder):
    """Top-1 and top-5 by a plain loop over images and their predictions."""
    source = keras_epsanet.data.imagenet.open_source(folder)
    correct = np.zeros(2, int)
    count = 0
    batches = keras_epsanet.data.imagenet.evaluation_batches(
        source, batch_size=1, image_size=32
    )
    for image, label in batches.as_numpy_iterator():
        x = keras_epsanet.preprocess_input(image)
        (probabilities,) = network.predict(x, verbose=0)
        order = np.argsort(-probabilities)
        correct += [np.argmax(label) in order[:k] for k in (1, 5)]
        count += 1
    assert count == 3 * CLASSES
    return 100 * correct / count


def row_of(capsys, weights, images):
    """The line that is printed of ImageNet, without the name."""
    arguments = f"--weights {weights} --data {images} --batch-size 4"
    run(*arguments.split(), "--image-size", "32")
    title, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert title.startswith("Table 2")
    name, *numbers = row.split()
    assert name == "epsanet50_small"
    return numbers


def test_accuracies_are_those_of_a_plain_loop(images, small_weights, capsys):
    path, network = small_weights
    top1, top5 = accuracies(network, images)
    assert 0 < top1 < top5 < 100
    counts = keras_epsanet.complexity(
        smallest(classes=CLASSES, weights=None), (224, 224, 3)
    )
    assert row_of(capsys, path, images) == [
        f"{counts.parameters / 1e6:.2f}",
        "22.56",
        f"{counts.flops / 1e9:.2f}",
        "3.62",
        f"{top1:.2f}",
        "77.49",
        f"{top5:.2f}",
        "93.54",
    ]


@pytest.mark.large
def test_checkpoints_of_pytorch_are_evaluated(
    images, golden_state_dict, capsys, tmp_path
):
    file = write_golden(golden_state_dict("epsanet50_small"), tmp_path)
    network = keras_epsanet.EPSANet50Small(
        weights=str(file), input_shape=(32, 32, 3), classes=CLASSES
    )
    top1, top5 = accuracies(network, images)
    assert 0 < top1 < top5 < 100
    assert row_of(capsys, file, images) == [
        "20.53",  # Of seven classes.
        *("22.56", "3.62", "3.62", f"{top1:.2f}", "77.49"),
        *(f"{top5:.2f}", "93.54"),
    ]


def test_the_table_has_the_paper_s_networks():
    assert set(table_2.TABLE_2) == set(MODEL_CONFIGS) < set(table_2.MODELS)


@pytest.mark.parametrize(
    "file, message",
    [
        ("none.weights.h5", "none.weights.h5"),
        ("small.weights.h5", "has 7 classes, the model's 3"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    file, message, images, small_weights, tmp_path
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
        run(*arguments, "--image-size", "32")
    assert caught.value.code.startswith("evaluate: ")
    assert message in caught.value.code


COLORS = {
    "blue": (30, 30, 200),
    "gray": (120, 120, 120),
    "green": (30, 200, 30),
    "red": (200, 30, 30),
    "white": (230, 230, 230),
    "black": (10, 10, 10),
}


def write_colors(folder, each):
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            image = color + random.integers(-10, 10, (8 + i // 2, 9, 3))
            path = folder / name / f"{i}.png"
            keras.utils.save_img(path, image, scale=False)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A saved model that knows colors, but takes every gray for a blue.

    Its classes are in another order than the sorted folders.
    """
    names = list(COLORS)
    places = np.array([COLORS[name] for name in names]) / 255
    image = keras.Input((None, None, 3), dtype="float32")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    nearest = keras.layers.Dense(6, activation="softmax")
    x = nearest(x)
    bias = -(places**2).sum(axis=-1)
    bias[names.index("gray")] -= 0.4
    nearest.set_weights([20 * 2 * places.T, 20 * bias])
    path = tmp_path_factory.mktemp("run") / "model.keras"
    model = keras.Model(image, keras_epsanet.layers.ClassNames(names)(x))
    model.save(path)
    return path, model, names


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colors")
    write_colors(folder / "train", 1)
    write_colors(folder / "val", 3)
    return folder


def plain_loop(model, names, folder):
    losses, right = [], []
    for path in sorted(folder.glob("*/*.png")):
        image = keras.utils.img_to_array(keras.utils.load_img(path))
        p = model(image[None], training=False).numpy()[0]
        losses.append(-np.log(p[names.index(path.parent.name)]))
        right.append(names[p.argmax()] == path.parent.name)
    return np.mean(losses), np.mean(right)


def test_classes_of_a_model_are_matched_by_name(
    classifier, colors, capsys, tmp_path
):
    path, model, names = classifier
    loss, top1 = plain_loop(model, names, colors / "val")
    table = tmp_path / "confusion.csv"
    arguments = ["--model", path, "--data", colors, "--batch-size", 5]
    run(*arguments, "--confusion", table)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == (
        f"18 images: loss {loss:.4f}, top-1 {top1:.2%}, top-5 100.00%"
    )
    assert 0 < top1 < 1
    (gray,) = (line for line in lines if line.startswith("  gray"))
    assert "0.00% of 3, taken for " in gray
    assert "  red: 100.00% of 3" in lines
    with open(table) as file:
        header, *rows = csv.reader(file)
    # As that of a training.
    assert header[0] == "true class"
    assert header[1:] == names == [row[0] for row in rows]
    counts = np.array([row[1:] for row in rows], int)
    assert (counts.sum(axis=1) == 3).all()
    assert counts[names.index("gray"), names.index("gray")] == 0
    assert list(tmp_path.iterdir()) == [table]


def test_folders_of_some_classes_are_enough(
    classifier, colors, capsys, tmp_path
):
    for name in ("red", "green"):
        (tmp_path / name).mkdir()
        image = (colors / "val" / name / "0.png").read_bytes()
        (tmp_path / name / "0.png").write_bytes(image)
    run("--model", classifier[0], "--data", tmp_path)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("2 images") and len(lines) == 2
    (tmp_path / "red").rename(tmp_path / "pink")
    with pytest.raises(SystemExit, match="Received: images of pink"):
        run("--model", classifier[0], "--data", tmp_path)


def test_a_class_is_taken_for_the_three_most_frequent_others(capsys):
    # Of class a: 5 b, 1 c, 2 d and 2 e; of b two are taken for a.
    labels = np.array(12 * [0] + 2 * [1] + 3 * [2])
    predicted = np.array([0, 0] + 5 * [1] + [2, 3, 3, 4, 4] + 5 * [0])
    predicted[-3:] = 2
    # Sure of each by 0.9.
    probabilities = 0.875 * np.eye(5)[predicted] + 0.025
    evaluate.print_results(Results("abcde", labels, probabilities))
    first, *lines = capsys.readouterr().out.splitlines()
    loss = -np.mean(np.log(np.where(labels == predicted, 0.9, 0.025)))
    assert first == f"17 images: loss {loss:.4f}, top-1 {5 / 17:.2%}"
    assert lines == [
        "  a: 16.67% of 12, taken for b 5, d 2, e 2",
        "  b: 0.00% of 2, taken for a 2",
        "  c: 100.00% of 3",
    ]


def test_the_loss_of_what_is_taken_for_impossible_is_bounded(capsys):
    probabilities = [[1, 0], [0.999, 0.001]]
    evaluate.print_results(Results("ab", [1, 1], probabilities))
    loss = -np.mean(np.log([1e-7, 1e-3]))
    assert f"loss {loss:.4f}" in capsys.readouterr().out


def test_images_are_resized_for_a_model_of_one_size(tmp_path, capsys):
    image = keras.Input((4, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    names = keras_epsanet.layers.ClassNames(["blue", "green", "red"])
    keras.Model(image, names(x)).save(tmp_path / "model.keras")
    write_colors(tmp_path / "images", 2)
    for name in set(COLORS) - {"blue", "red"}:
        shutil.rmtree(tmp_path / "images" / name)
    arguments = ["--model", tmp_path / "model.keras"]
    run(*arguments, "--data", tmp_path / "images")
    assert capsys.readouterr().out.startswith("4 images: ")


@pytest.mark.parametrize("classes", [5, 6])
def test_the_five_first_count_of_more_than_five_classes(classes, capsys):
    # The classes in their order; true is the fifth, then the sixth.
    probabilities = np.array([np.arange(classes, 0, -1)] * 2) / 30
    labels = np.array([4, classes - 1])
    evaluate.print_results(Results("abcdef"[:classes], labels, probabilities))
    line = capsys.readouterr().out.splitlines()[0]
    assert ("top-5 50.00%" in line) == (classes > 5)


def test_other_classes_than_clothes_need_data(classifier):
    message = "^evaluate: This model needs --data: .*of blue, gray, green"
    with pytest.raises(SystemExit, match=message):
        run("--model", classifier[0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--weights W", "--weights needs --data"),
        ("--model M --batch-size 0", "must be a positive integer"),
        ("--model M --weights W", "not allowed with"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        evaluate.parse(arguments.split())
    assert message in capsys.readouterr().err


def test_defaults_are_those_of_the_help():
    assert evaluate.parse(["--model", "M", "--batch-size", "1"]).batch_size == 1
    assert vars(evaluate.parse([])) == {
        "model": "runs/classifier/model.keras",
        "weights": None,
        "data": None,
        "batch_size": 64,
        "confusion": None,
        "network": "epsanet50_small",
        "image_size": 224,
    }


def test_a_model_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "model.keras").write_text("no model")
    for name in ("model.keras", "none.keras"):
        message = f"^mine: {tmp_path}/{name} cannot be used: "
        with pytest.raises(SystemExit, match=message):
            evaluate.main(["--model", f"{tmp_path}/{name}"], "mine")


def test_a_matrix_that_cannot_be_written_is_told_before_any_work():
    options = ["--model", "none.keras", "--confusion", "none/a.csv"]
    with pytest.raises(SystemExit) as caught:
        evaluate.main(options)
    assert caught.value.code == (
        "evaluate: none/a.csv cannot be written: No such file or directory"
    )


def test_five_classes_have_no_top_5(capsys):
    evaluate.print_results(Results("abcde", np.arange(5), np.eye(5)))
    assert "top-5" not in capsys.readouterr().out


def test_a_model_without_class_names_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    keras.Model(image, image).save(tmp_path / "model.keras")
    with pytest.raises(SystemExit, match="evaluate: .*ClassNames"):
        run("--model", tmp_path / "model.keras")


def test_options_of_imagenet_reach_the_network_and_the_batches(monkeypatch):
    asked = {}

    def build(**options):
        asked.update(options)
        image = keras.Input((None, None, 3))
        x = keras.layers.GlobalAveragePooling2D()(image)
        return keras.Model(image, x)

    class Source:
        class_names = list("abc")

    def batches(source, size, image_size, shard):
        import tensorflow as tf

        asked.update(size=size, image_size=image_size, shard=shard)
        image = np.zeros((1, image_size, image_size, 3), "uint8")
        return tf.data.Dataset.from_tensors((image, np.eye(3)[:1]))

    monkeypatch.setitem(table_2.MODELS, "epsanet50_large", build)
    monkeypatch.setattr(imagenet, "evaluation_batches", batches)
    monkeypatch.setattr(imagenet, "open_source", lambda path: Source)
    monkeypatch.setattr(
        table_2, "table_row", lambda *row: asked.update(row=row)
    )
    options = "--weights W --data D --network epsanet50_large"
    run(*options.split(), "--batch-size", 7, "--image-size", 40)
    assert asked.pop("row")[0] == "epsanet50_large"
    assert asked == {
        "weights": "W",
        "input_shape": (None, None, 3),
        "classes": 3,
        "size": 7,
        "image_size": 40,
        "shard": (0, 1),
    }


def test_every_option_has_a_test():
    assert set(vars(evaluate.parse(["--model", "FILE"]))) == {
        *("model", "data", "batch_size", "confusion"),
        *("weights", "network", "image_size"),
    }


def test_the_size_of_batches_reaches_the_model(classifier, monkeypatch):
    asked = []

    def evaluate_images(model, images, batch_size, strategy):
        asked.append((images, batch_size))
        return Results("ab", [0], [[1, 0]])

    monkeypatch.setattr(evaluate.evaluation, "evaluate", evaluate_images)
    monkeypatch.setattr(evaluate.evaluation, "open_images", lambda path: path)
    monkeypatch.setattr(evaluate.evaluation, "check_embedded", lambda *_: None)
    run("--model", classifier[0], "--data", "D", "--batch-size", 5)
    run("--model", classifier[0])
    assert asked == [("D", 5), (None, 64)]


@pytest.mark.parametrize("is_chief", [True, False])
def test_one_worker_prints_the_row(is_chief, monkeypatch, capsys):
    monkeypatch.setattr(evaluate.training, "is_chief", lambda _: is_chief)
    monkeypatch.setattr(
        imagenet, "open_source", lambda path: Results("ab", [0], [[1, 0]])
    )
    for name in ("load_network", "evaluate"):
        monkeypatch.setattr(table_2, name, lambda *_: None)
    monkeypatch.setattr(table_2, "table_row", lambda *_: "the row")
    run("--weights", "W", "--data", "D")
    assert capsys.readouterr().out == ("the row\n" if is_chief else "")
