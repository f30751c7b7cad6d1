import shutil

import keras
import pytest

import keras_epsanet
from keras_epsanet.commands import complexity
from keras_epsanet.detection import RetinaNet
from keras_epsanet.layers import ClassNames


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of two models, for images of any size and of one."""
    folder = tmp_path_factory.mktemp("models")
    for name, size in (("any", None), ("fixed", 40)):
        image = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(8, 3, padding="same", name="conv")(image)
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(2, name="dense")(x)
        model = keras.Model(image, ClassNames(["cat", "dog"])(x))
        model.save(folder / f"{name}.keras")
    return folder


def totals(capsys):
    """Parameters, multiply-adds and FLOPs of the last row."""
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("total ")
    return [int(x.replace(",", "")) for x in line.split()[1:]]


def test_a_named_network_has_the_table_of_its_layers(capsys):
    complexity.main(["tiny", "--image-size", "32"])
    network = keras_epsanet.EPSANet(
        (1, 1), (64, 128), (3, 5), (1, 4), input_shape=(32, 32, 3)
    )
    expected = keras_epsanet.complexity(network)
    text = capsys.readouterr().out
    first = "For one image of 32×32 pixels:"
    assert text == f"{first}\n{expected}\n" and "conv2_block1_psa" in text


def test_a_resnet_has_the_attention_that_is_named(capsys):
    complexity.main(["resnet50", "--image-size", "32", "--attention", "eca"])
    network = keras_epsanet.ResNet50("eca", input_shape=(32, 32, 3))
    found = totals(capsys)
    assert found[0] == network.count_params() - sum(
        weight.shape[0] for weight in network.non_trainable_weights
    )
    assert complexity.parse(["resnet101"]).attention is None


def test_a_detector_is_counted_at_its_size(tmp_path, capsys):
    backbone = keras_epsanet.EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    detector = RetinaNet(backbone, 2, image_size=(40, 80))
    detector.save(tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    complexity.main([path])
    # Of a wide picture, padded to multiples of 32.
    text = capsys.readouterr().out
    assert text.startswith("For one image of 64×96 pixels:\n")
    complexity.main([path, "--image-size", "64", "96"])
    assert capsys.readouterr().out == text


def test_a_size_that_no_network_is_built_for_is_refused():
    with pytest.raises(SystemExit, match="32 pixels.*Received: "):
        complexity.main(["tiny", "--image-size", "20"])


@pytest.mark.parametrize(
    "name, options, pixels",
    [
        ("any", (), 224 * 224),
        ("any", ("--image-size", "48"), 48 * 48),
        ("any", ("--image-size", "48", "64"), 48 * 64),
        ("fixed", (), 40 * 40),
    ],
)
def test_operations_are_those_of_the_size(name, options, pixels, files, capsys):
    complexity.main([f"{files}/{name}.keras", *options])
    parameters = 3 * 9 * 8 + 8 + 8 * 2 + 2
    macs = pixels * 3 * 9 * 8 + 8 * 2
    assert totals(capsys) == [parameters, macs, macs]


def test_height_comes_before_width(files, capsys):
    complexity.main([f"{files}/any.keras", "--image-size", "48", "64"])
    assert "(1, 48, 64, 8)" in capsys.readouterr().out


def test_the_convention_is_that_of_the_table(files, capsys):
    complexity.main([f"{files}/fixed.keras", "--convention", "table3"])
    _, macs, flops = totals(capsys)
    # Biases and the elements that are pooled count there.
    assert flops == macs + 2 * 40 * 40 * 8 + 2


def test_a_size_that_a_model_does_not_take_ends_with_a_line(files):
    with pytest.raises(SystemExit, match="^mine: .*Received: input_shape"):
        file = f"{files}/fixed.keras"
        complexity.main([file, "--image-size", "32"], "mine")


def test_a_model_of_no_images_ends_with_a_line(tmp_path):
    vector = keras.Input((4,))
    model = keras.Model(vector, keras.layers.Dense(2)(vector))
    model.save(tmp_path / "model.keras")
    with pytest.raises(SystemExit, match=r"must take images.*\(None, 4\)"):
        complexity.main([f"{tmp_path}/model.keras"])


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(SystemExit, match="none.keras cannot be used: "):
        complexity.main([f"{tmp_path}/none.keras"])


def test_the_folder_of_a_training_is_its_model(files, capsys):
    run = files / "run"
    run.mkdir()
    with pytest.raises(SystemExit, match="run cannot be used: .* has ended"):
        complexity.main([str(run)])
    shutil.copy(files / "fixed.keras", run / "model.keras")
    complexity.main([f"{files}/fixed.keras"])
    expected = capsys.readouterr().out
    complexity.main([str(run)])
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("none", "none is none of epsanet50_small, "),
        ("resnet5", "resnet5 is none of epsanet50_small, "),
        ("resnet50 --attention epsa", "invalid choice"),
        ("tiny --attention se", "--attention is of resnet50 and resnet101"),
        ("tiny --image-size 0", "must be a positive integer"),
        ("tiny --image-size 1 2 3", "is one side, or height and width"),
        ("tiny --convention table4", "invalid choice"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        complexity.parse(arguments.split())
    assert message in capsys.readouterr().err
