import functools
import warnings

import keras
import numpy as np
import pytest

from keras_epsanet import (
    EPSANet,
    EPSANet50Small,
    EPSANetBackbone,
    ResNet,
    fuse,
    save_torch_weights,
)
from keras_epsanet.weights.load import load_weights

TINY = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (16, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}
ENDINGS = [".weights.h5", ".keras", ".pth", ".safetensors"]


def tiny(**kwargs):
    return EPSANet(**{**TINY, "classes": 5, **kwargs})


@pytest.fixture
def source(randomize):
    return randomize(tiny())


def save(model, path):
    path = str(path)
    if path.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.endswith(".keras"):
        model.save(path)
    else:
        save_torch_weights(model, path)
    return path


def assert_same_weights(model, expected, skip=()):
    expected = {layer.name: layer.get_weights() for layer in expected.layers}
    for layer in model.layers:
        if layer.name in skip:
            continue
        for array, wanted in zip(
            layer.get_weights(), expected.get(layer.name, []), strict=True
        ):
            np.testing.assert_array_equal(array, wanted, err_msg=layer.name)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_network_loads_without_warning(source, tmp_path, ending):
    path = save(source, tmp_path / f"model{ending}")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*classifier.*")
        assert_same_weights(tiny(weights=path), source)


@pytest.mark.parametrize(
    "change",
    [
        {"expansion": 2},
        {"split_input": True},
        {"reduction": 2},
        {"input_shape": (32, 32, 4)},
        {"input_shape": (3, 32, 32), "data_format": "channels_first"},
        {"dtype": "float64"},
        {"kernel_sizes": (3, 7)},
        {"groups": (2, 1)},
    ],
)
def test_a_weights_file_of_every_kind_of_network_loads(tmp_path, change):
    # Keras reads it into a network that is built for it.
    source = tiny(**change)
    path = save(source, tmp_path / "model.weights.h5")
    assert_same_weights(tiny(**change, weights=path), source)


def test_a_file_of_other_channels_loads_behind_other_layers(tmp_path):
    source = tiny(input_shape=(32, 32, 2))
    path = save(source, tmp_path / "model.weights.h5")
    image = keras.Input((32, 32, 1))
    pair = keras.layers.Concatenate()([image, image])
    model = tiny(input_tensor=pair, weights=path)
    for name in ("conv1_conv", "predictions"):
        for ours, theirs in zip(
            model.get_layer(name).get_weights(),
            source.get_layer(name).get_weights(),
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_classifier_of_the_file_may_be_unused(source, tmp_path, ending):
    path = save(source, tmp_path / f"model{ending}")
    assert_same_weights(tiny(include_top=False, weights=path), source)
    backbone = EPSANetBackbone(**TINY, weights=path, norm_eval=True)
    assert_same_weights(backbone, source)


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_number_of_classes_gives_one_warning(source, tmp_path, ending):
    path = save(source, tmp_path / f"model{ending}")
    with pytest.warns(UserWarning, match="5 classes, the model's 7") as seen:
        model = tiny(classes=7, weights=path)
    assert len([w for w in seen if "classes" in str(w.message)]) == 1
    assert_same_weights(model, source, skip=["predictions"])
    assert model.output_shape == (None, 7)


@pytest.mark.parametrize("ending", ENDINGS)
def test_weights_of_a_backbone_need_a_model_without_classifier(
    tmp_path, ending
):
    source = EPSANetBackbone(**TINY, norm_eval=True)
    path = save(source, tmp_path / f"backbone{ending}")
    assert_same_weights(EPSANetBackbone(**TINY, weights=path), source)
    with pytest.raises(ValueError, match="predictions|fc.weight"):
        tiny(weights=path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_does_not_fit_changes_nothing(source, tmp_path, ending):
    path = save(source, tmp_path / f"model{ending}")
    # The last of its layers is of another shape.
    model = tiny(stackwise_num_filters=(16, 48))
    before = model.get_weights()
    build_like = functools.partial(tiny, stackwise_num_filters=(16, 48))
    with pytest.raises(ValueError, match="damaged or not|not fit"):
        load_weights(model, path, build_like)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_a_file_was_trained_with_need_not_be_known(source, tmp_path):
    source.compile("sgd", lambda labels, predictions: 0 * predictions)
    path = save(source, tmp_path / "model.keras")
    assert_same_weights(tiny(weights=path), source)


def test_layers_in_front_of_the_network_are_left_alone(source, tmp_path):
    path = save(source, tmp_path / "model.keras")
    image = keras.Input((32, 32, 1))
    colours = keras.layers.Conv2D(3, 1, name="colours")
    image_tensor = colours(image)
    before = colours.kernel.numpy().copy()
    model = tiny(input_tensor=image_tensor, weights=path)
    np.testing.assert_array_equal(colours.kernel.numpy(), before)
    assert_same_weights(model, source, skip=["colours"])
    # And the other way round: preprocessing in the file is passed over.
    path = save(model, tmp_path / "with_colours.keras")
    assert_same_weights(tiny(weights=path), source)


def test_the_network_within_another_model_is_found(source, tmp_path):
    # As a training's checkpoint has it: it takes images of bytes.
    image = keras.Input((224, 224, 3))
    logits = source(keras.layers.Rescaling(1 / 255)(image))
    outputs = keras.layers.Activation("linear")(logits)
    model = keras.Model(image, outputs)
    model.compile("sgd", "mse")
    path = save(model, tmp_path / "model.keras")
    assert_same_weights(tiny(weights=path), source)
    backbone = EPSANetBackbone(**TINY, weights=path, norm_eval=True)
    assert_same_weights(backbone, source)


def test_two_networks_in_a_file_are_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    both = [
        tiny(name=name, input_shape=(32, 32, 3))(image)
        for name in ("left", "right")
    ]
    path = save(keras.Model(image, both), tmp_path / "nested.keras")
    with pytest.raises(ValueError, match="it holds 2 networks, not one"):
        tiny(weights=path)
    both = [
        tiny(input_tensor=image, prefix=prefix).output
        for prefix in ("left_", "right_")
    ]
    path = save(keras.Model(image, both), tmp_path / "flat.keras")
    with pytest.raises(ValueError, match="prefixes.*'left_', 'right_'"):
        tiny(weights=path)


def test_a_file_without_a_network_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, keras.layers.Flatten()(image))
    path = save(model, tmp_path / "model.keras")
    with pytest.raises(ValueError, match="it holds 0 networks"):
        tiny(weights=path)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_a_fused_file_is_named(tmp_path, ending):
    fused = fuse(tiny(input_shape=(32, 32, 3)))
    path = save(fused, tmp_path / f"fused{ending}")
    with pytest.raises(ValueError, match="fused model.*use the file of the"):
        tiny(weights=path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_prefixes_of_layers_do_not_matter(randomize, tmp_path, ending):
    source = randomize(tiny(prefix="left_"))
    path = save(source, tmp_path / f"model{ending}")
    model = tiny(prefix="right_", weights=path)
    assert model.layers[1].name == "right_conv1_conv"
    for array, wanted in zip(model.get_weights(), source.get_weights()):
        np.testing.assert_array_equal(array, wanted)
    with pytest.warns(UserWarning, match="5 classes, the model's 7"):
        tiny(prefix="right_", classes=7, weights=path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "change",
    [
        {"stackwise_num_filters": (32, 32)},
        {"input_shape": (32, 32, 4)},
        {"stackwise_num_blocks": (1, 2)},
        {"stackwise_num_blocks": (2, 1)},
    ],
)
def test_another_network_is_refused(tmp_path, ending, change):
    path = save(tiny(), tmp_path / f"small{ending}")
    with pytest.raises(ValueError, match="damaged or not|not fit"):
        tiny(weights=path, **change)
    path = save(tiny(**change), tmp_path / f"changed{ending}")
    with pytest.raises(ValueError, match="damaged or not|not fit"):
        tiny(weights=path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_attention_branch_has_classes_without_a_classifier(tmp_path, ending):
    def backbone(classes=7, **kwargs):
        return ResNet(
            (1,),
            (16,),
            "abn",
            include_top=False,
            classes=classes,
            input_shape=(32, 32, 3),
            **kwargs,
        )

    model = backbone()
    path = save(model, tmp_path / f"model{ending}")
    assert_same_weights(backbone(weights=path), model)
    with pytest.raises(ValueError, match="damaged or not|not fit"):
        backbone(classes=8, weights=path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files_are_refused(tmp_path, ending):
    path = save(tiny(), tmp_path / f"model{ending}")
    with open(path, "rb") as file:
        content = file.read()
    for damaged in (content[: len(content) // 2], b"no weights", b""):
        with open(path, "wb") as file:
            file.write(damaged)
        with pytest.raises(ValueError, match="damaged|dictionary of tensors"):
            tiny(weights=path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth.tar")
    with pytest.raises(ValueError, match="can run any code"):
        tiny(weights=tmp_path / "evil.pth.tar")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "weights, message",
    [
        ("imagenet", "nobody has published.*resnext.*inherit_weights"),
        ("ImageNet", "must be None, .resnext. or the path.*weights=ImageNet"),
        ("ImageNet", "no file ImageNet"),
        ("nofile.h5", "no file nofile.h5.*ends in .weights.h5, .keras, .pth"),
        (".", "is a folder"),
        (__file__, r"ends in .weights.h5, .keras, .pth.*test_load.py"),
        (50, "path of a file.*weights=50"),
        ("nothing.keras", "no file nothing.keras"),
        ("nothing.pth.tar", "no file nothing.pth.tar"),
    ],
)
def test_unknown_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        EPSANet50Small(weights=weights)


def test_a_network_that_differs_everywhere_is_named_in_a_line(tmp_path):
    deep = tiny(stackwise_num_blocks=(3, 3), name="deep")
    path = save(deep, tmp_path / "deep.keras")
    with pytest.raises(ValueError) as caught:
        tiny(weights=path, name="flat")
    text = str(caught.value)
    assert "The file holds deep. Differing layers (shapes): " in text
    assert text.count("not in the model") == 4 and len(text) < 600
    number = text.split(" … and ")[1].removesuffix(" more")
    # Of every block that the network lacks; four are named.
    blocks = ("conv2_block2", "conv2_block3", "conv3_block2", "conv3_block3")
    layers = [x for x in deep.layers if x.weights]
    lacking = [x for x in layers if x.name.startswith(blocks)]
    assert int(number) == len(lacking) - 4 > 4


def test_many_names_of_pytorch_are_counted(tmp_path):
    deep = tiny(stackwise_num_blocks=(3, 3))
    path = save(deep, tmp_path / "deep.pth")
    with pytest.raises(ValueError, match=r"unexpected: .* … and \d+ more$"):
        tiny(weights=path)
