"""What Keras' models and files say, against the layers' own outputs."""

import keras
import numpy as np
import pytest

from keras_epsanet.graph.fuse import fuse
from keras_epsanet.models import EPSANet, EPSANetBackbone
from keras_epsanet.weights.resnet_names import read_resnet


def epsanet(**arguments):
    arguments = {
        "input_shape": (33, 47, 3),
        "classes": 5,
        "classifier_activation": None,
    } | arguments
    return EPSANet((2, 1), (16, 32), (3,), (4,), **arguments)


def features(state, images):
    """Last feature map of a ResNet of torchvision with a state dict."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    state = {key: torch.from_numpy(x).double() for key, x in state.items()}

    def conv(x, name, stride=1):
        kernel = state[f"{name}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        padding = kernel.shape[-1] // 2
        return f.conv2d(x, kernel, None, stride, padding, groups=groups)

    def norm(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return f.batch_norm(x, *(state[f"{name}.{key}"] for key in names))

    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).double()
    x = f.relu(norm(conv(x, "conv1", 2), "bn1"))
    x = f.max_pool2d(x, 3, 2, 1)
    blocks = [key.removesuffix(".conv1.weight") for key in state]
    for block in [name for name in blocks if name.startswith("layer")]:
        if f"{block}.conv1.weight" not in state:
            continue
        stage, index = block.removeprefix("layer").split(".")
        stride = 2 if int(stage) > 1 and index == "0" else 1
        shortcut = x
        if f"{block}.downsample.0.weight" in state:
            shortcut = conv(x, f"{block}.downsample.0", stride)
            shortcut = norm(shortcut, f"{block}.downsample.1")
        x = f.relu(norm(conv(x, f"{block}.conv1"), f"{block}.bn1"))
        x = f.relu(norm(conv(x, f"{block}.conv2", stride), f"{block}.bn2"))
        x = f.relu(norm(conv(x, f"{block}.conv3"), f"{block}.bn3") + shortcut)
    return x.numpy().transpose(0, 2, 3, 1)


def check_features(weights, model):
    shape = (2, *model.input_shape[1:])
    images = np.random.default_rng(0).standard_normal(shape)
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))
    found = features(weights.state, images)
    assert found.shape == expected.shape
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < 1e-5


def check_same(found, expected):
    assert found[1:] == expected[1:]
    assert found.state.keys() == expected.state.keys()
    for key, array in expected.state.items():
        np.testing.assert_array_equal(found.state[key], array)


def test_an_epsanet_of_one_scale_is_the_resnet_that_is_read(randomize):
    model = randomize(epsanet(include_top=False))
    weights = read_resnet(model)
    assert tuple(weights[1:]) == ((2, 1), (16, 32), 4, 4, None)
    check_features(weights, model)


@pytest.mark.parametrize("kind", ["prefix", "backbone", "nested", "head"])
def test_wherever_an_epsanet_stands(kind, randomize):
    network = randomize(epsanet(include_top=False))
    expected = read_resnet(network)
    if kind == "prefix":
        model = epsanet(include_top=False, prefix="student_")
        model.set_weights(network.get_weights())
    elif kind == "backbone":
        model = EPSANetBackbone(
            (2, 1), (16, 32), (3,), (4,), image_shape=(33, 47, 3)
        )
        model.set_weights(network.get_weights())
    else:
        layers = [keras.layers.Normalization(), network]
        if kind == "head":
            layers += [
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(7, name="breeds"),
            ]
        model = keras.Sequential([keras.Input((33, 47, 3)), *layers])
    check_same(read_resnet(model), expected)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
@pytest.mark.parametrize("kind", ["itself", "prefix", "nested", "trained"])
def test_files_of_epsanet(ending, kind, randomize, tmp_path):
    network = epsanet(prefix="student_" if kind == "prefix" else "")
    expected = read_resnet(randomize(network))
    assert expected.classes == 5
    model = network
    if kind == "nested":
        model = keras.Sequential([keras.Input((33, 47, 3)), network])
    if kind == "trained":
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
    path = tmp_path / f"model{ending}"
    if ending == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    check_same(read_resnet(path), expected)


def test_files_of_short_floats(randomize, tmp_path):
    network = randomize(epsanet(dtype="bfloat16"))
    expected = read_resnet(network)
    assert expected.state["conv1.weight"].dtype == "float32"
    network.save_weights(tmp_path / "model.weights.h5")
    check_same(read_resnet(tmp_path / "model.weights.h5"), expected)


def test_a_file_without_names_is_refused(tmp_path):
    import h5py

    path = tmp_path / "model.weights.h5"
    epsanet().save_weights(path)
    with h5py.File(path, "r+") as file:
        groups = []
        file.visititems(lambda _, group: groups.append(group))
        for group in groups:
            group.attrs.pop("name", None)
    with pytest.raises(ValueError, match="no names of layers.*Received: sou"):
        read_resnet(path)


def test_fused_networks_are_refused(tmp_path):
    model = fuse(epsanet())
    model.save_weights(tmp_path / "model.weights.h5")
    for source in (model, tmp_path / "model.weights.h5"):
        with pytest.raises(ValueError, match="BatchNorms are merged.*Recei"):
            read_resnet(source)


def test_two_networks_in_one_model_are_refused():
    image = keras.Input((33, 47, 3))
    two = [
        epsanet(include_top=False, prefix=prefix, name=prefix)(image)
        for prefix in ("first", "second")
    ]
    model = keras.Model(image, two)
    with pytest.raises(ValueError, match="must be one network.*Received: th"):
        read_resnet(model)


def test_another_kernel_size_is_refused():
    model = EPSANet((1,), (16,), (5,), (1,), input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="another shape: layer1.0.conv2.weig"):
        read_resnet(model)


def kerashub(block="bottleneck_block", filters=(64,), **arguments):
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=list(filters),
        input_conv_kernel_sizes=[7] + [3] * (len(filters) - 1),
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[2, 1],
        stackwise_num_strides=[1, 2],
        block_type=block,
        image_shape=(33, 47, 3),
        **arguments,
    )


def test_a_backbone_of_kerashub(randomize):
    model = randomize(kerashub())
    weights = read_resnet(model)
    assert tuple(weights[1:]) == ((2, 1), (64, 128), 1, 4, None)
    check_features(weights, model)


@pytest.mark.parametrize("kind", ["model", ".weights.h5", ".keras"])
def test_a_classifier_of_kerashub(kind, randomize, tmp_path):
    backbone = kerashub()
    keras_hub = pytest.importorskip("keras_hub")
    model = keras_hub.models.ResNetImageClassifier(backbone, num_classes=6)
    randomize(model)
    source = model
    if kind != "model":
        source = tmp_path / f"model{kind}"
        if kind == ".keras":
            model.save(source)
        else:
            model.save_weights(source)
    found = read_resnet(source)
    assert found.classes == 6
    dense = model.get_layer("predictions")
    np.testing.assert_array_equal(
        found.state["fc.weight"], keras.ops.convert_to_numpy(dense.kernel).T
    )
    np.testing.assert_array_equal(
        found.state["fc.bias"], keras.ops.convert_to_numpy(dense.bias)
    )
    expected = read_resnet(backbone)
    for key, array in expected.state.items():
        np.testing.assert_array_equal(found.state[key], array)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"use_pre_activation": True}, "is a ResNet V2"),
        ({"block": "basic_block"}, "basic blocks"),
        (
            {"block": "bottleneck_block_vd", "filters": (32, 32, 64)},
            "one convolution as stem",
        ),
    ],
)
def test_other_networks_of_kerashub_are_refused(arguments, reason, tmp_path):
    model, path = kerashub(**arguments), tmp_path / "model.weights.h5"
    model.save_weights(path)
    for source in (model, path):
        with pytest.raises(ValueError, match=f"{reason}.*Received: "):
            read_resnet(source)


def test_a_pooling_in_the_shortcuts_is_refused():
    model = kerashub(block="bottleneck_block_vd")
    with pytest.raises(ValueError, match="stack1_block0_0_conv has the strid"):
        read_resnet(model)


@pytest.mark.parametrize(
    "build, reason",
    [
        (keras.applications.ResNet50, "biases.*first 1×1.*`replace_conv"),
        (keras.applications.ResNet50V2, "ResNet V2.*`replace_convolutions`"),
    ],
)
def test_resnets_of_keras_applications_are_refused(build, reason, tmp_path):
    model = build(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    for source in (model, path):
        with pytest.raises(ValueError, match=f"{reason}.*Received: "):
            read_resnet(source)


def test_a_stride_in_the_first_convolution_is_refused():
    image = keras.Input((32, 32, 8))
    x = image
    for name, size, stride in (("1", 1, 2), ("2", 3, 1), ("3", 1, 1)):
        x = keras.layers.Conv2D(
            8,
            size,
            stride,
            use_bias=False,
            name=f"conv3_block1_{name}_conv",
        )(x)
    model = keras.Model(image, x)
    with pytest.raises(ValueError, match="conv3_block1_1_conv has the stride"):
        read_resnet(model)


def test_other_layers_with_weights_are_refused(randomize):
    network = epsanet(include_top=False)
    x = keras.layers.Conv2D(4, 1, name="extra")(network.output)
    with pytest.raises(ValueError, match="Other layers with weights: extra"):
        read_resnet(keras.Model(network.input, x))


def write_former_file(path, state, groups, prefix=""):
    """Writes a ResNeXt as keras-applications' files have it."""
    import h5py

    names = {"0": "downsample.0", "1": "conv1", "2": "conv2", "3": "conv3"}
    norms = {"0": "downsample.1", "1": "bn1", "2": "bn2", "3": "bn3"}
    layers = {"input_1": {}, "conv1_pad": {}, "pool1_pool": {}}

    def norm(name, key):
        keys = ("weight", "bias", "running_mean", "running_var")
        leaves = ("gamma", "beta", "moving_mean", "moving_variance")
        layers[name] = {
            f"{name}/{leaf}:0": state[f"{key}.{x}"]
            for x, leaf in zip(keys, leaves)
        }

    def conv(name, key):
        kernel = state[f"{key}.weight"]
        if key.endswith("conv2"):
            width, size = kernel.shape[:2]
            array = np.zeros((3, 3, width, size), "float32")
            for group in range(groups):
                for i in range(size):  # Input channel of the group.
                    for j in range(size):  # Output channel of the group.
                        array[:, :, group * size + i, j] = kernel[
                            group * size + j, i
                        ]
            layers[name] = {f"{name}/depthwise_kernel:0": array}
        else:
            array = kernel.transpose(2, 3, 1, 0)
            layers[name] = {f"{name}/kernel:0": array}

    conv("conv1_conv", "conv1")
    norm("conv1_bn", "bn1")
    for key in [x for x in state if x.endswith("conv3.weight")]:
        stage, block = key.removeprefix("layer").split(".")[:2]
        for i in "0123":
            inner = f"layer{stage}.{block}"
            name = f"conv{int(stage) + 1}_block{int(block) + 1}_{i}"
            if f"{inner}.{names[i]}.weight" in state:
                conv(f"{name}_conv", f"{inner}.{names[i]}")
                norm(f"{name}_bn", f"{inner}.{norms[i]}")
    layers["probs"] = {
        "probs/kernel:0": state["fc.weight"].T,
        "probs/bias:0": state["fc.bias"],
    }
    with h5py.File(path, "w") as file:
        group = file.create_group(prefix) if prefix else file
        group.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [x.encode() for x in arrays]
            for x, array in arrays.items():
                layer[x] = array


@pytest.mark.parametrize("prefix", ["", "model_weights"])
def test_keras_applications_resnext(prefix, resnet_state, tmp_path):
    state = resnet_state()
    path = tmp_path / "resnext50_weights_tf_dim_ordering_tf_kernels.h5"
    write_former_file(path, state, groups=4, prefix=prefix)
    expected, found = read_resnet(state), read_resnet(path)
    assert found[1:] == expected[1:]
    assert found.state.keys() == expected.state.keys()
    for key, array in expected.state.items():
        if key.endswith("running_var"):
            # Their epsilon is 1.001e-5, PyTorch's 1e-5.
            array = array + np.float32(1e-8)
        np.testing.assert_array_equal(found.state[key], array)


def test_a_small_variance_gets_the_other_epsilon(resnet_state, tmp_path):
    state = resnet_state()
    state["bn1.running_var"][:] = 1e-5
    path = tmp_path / "resnext.h5"
    write_former_file(path, state, groups=4)
    found = read_resnet(path).state["bn1.running_var"]
    np.testing.assert_allclose(found, 1.001e-5, rtol=1e-6)


def test_keras_applications_depthwise_kernels_are_grouped_ones(resnet_state):
    """The layers that it builds for a grouped convolution."""
    torch = pytest.importorskip("torch")
    from keras_epsanet.weights.resnet_keras import _torch_kernel

    groups, size = 4, 3
    random = np.random.default_rng(0)
    kernel = random.standard_normal((3, 3, groups * size, size)) / 5
    x = random.standard_normal((2, 7, 7, groups * size))
    y = keras.ops.depthwise_conv(
        x.astype("float32"), kernel.astype("float32"), padding="same"
    )
    y = keras.ops.reshape(y, (2, 7, 7, groups, size, size))
    y = keras.ops.reshape(keras.ops.sum(y, axis=4), (2, 7, 7, -1))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x.transpose(0, 3, 1, 2)),
        torch.from_numpy(_torch_kernel(kernel, "depthwise_conv2d")),
        padding=1,
        groups=groups,
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(y),
        expected.numpy().transpose(0, 2, 3, 1),
        rtol=1e-4,
        atol=1e-5,
    )
