"""ResNets and ResNeXts of anybody, in torchvision's names."""

import collections.abc
import os
import re
from typing import NamedTuple

import keras

from keras_epsanet import storage
from keras_epsanet.weights import torch_files
from keras_epsanet.weights.resnet_keras import (
    read_h5_resnet,
    read_keras_resnet,
)
from keras_epsanet.weights.resnet_torch import (
    read_torch_resnet,
    rename_resnet,
)

_LISTED = 6  # Names of a kind in a message.
_IN_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


class ResNetWeights(NamedTuple):
    """The weights of a bottleneck ResNet, and what they say of it.

    The stride is in the 3×3 convolutions, convolutions have no bias, and the
    epsilon of BatchNorm is 1e-5.
    """

    state: dict  # NumPy arrays in torchvision's names and PyTorch's layouts.
    blocks: tuple  # Blocks of every stage.
    filters: tuple  # Channels of the 3×3 convolutions of every stage.
    groups: int  # Of the 3×3 convolutions.
    expansion: int  # A block's output channels per channel of its 3×3.
    classes: int | None  # None without classifier.

    @property
    def name(self):
        """Its name, such as `"ResNeXt-50 32x4d"`."""
        depth = 3 * sum(self.blocks) + 2
        width = self.filters[0]
        if self.groups > 1:
            return f"ResNeXt-{depth} {self.groups}x{width // self.groups}d"
        if (width, self.expansion) == (64, 4):
            return f"ResNet-{depth}"
        if width > 64 and width * self.expansion == 256:
            return f"Wide ResNet-{depth}-{width // 64}"
        return f"ResNet-{depth} of width {width}"


def read_resnet(source):
    """Reads the weights of a ResNet or ResNeXt.

    Understood are the names of torchvision and timm (the same), MMPretrain,
    KerasHub's `ResNetBackbone` and `ResNetImageClassifier`,
    keras-applications' ResNeXt (`.h5`), and of this package's `EPSANet` and
    `EPSANetBackbone` with one kernel size 3, whose attention changes nothing.

    Args:
        source: Path of a `.pth`, `.pt`, `.pth.tar`, `.safetensors`,
            `.weights.h5`, `.h5` or `.keras` file; a dictionary of tensors or
            arrays, or one that has it as its entry `"state_dict"` or
            `"model"`, with or without the prefix `module.`; or a Keras
            model. Of a checkpoint with an averaged model that one is read.

    Returns:
        A `ResNetWeights`.

    Raises:
        ValueError: If it is not a bottleneck ResNet with the stride in the
            3×3 convolution, or the file cannot be read or holds anything but
            data.
        ImportError: If PyTorch or safetensors is needed and not installed.

    Example:

    >>> from keras_epsanet import EPSANet
    >>> source = EPSANet(
    ...     (1, 1), (128, 256), (3,), (32,), expansion=2, classes=10
    ... )
    >>> weights = read_resnet(source)
    >>> weights.name, weights.groups, weights.classes
    ('ResNeXt-8 32x4d', 32, 10)
    >>> weights.state["layer1.0.conv2.weight"].shape
    (128, 4, 3, 3)
    """
    received = f"source={source}"
    if isinstance(source, keras.Model):
        received = f"the model {source.name}"
        state = read_keras_resnet(source, received)
    elif isinstance(source, collections.abc.Mapping):
        received = f"a dictionary of {len(source)} entries"
        state = rename_resnet(source, received)
    else:
        state = _read_file(source, received)
    return _describe(state, received)


def _read_file(source, received):
    endings = torch_files.ENDINGS + (".h5", ".keras")
    is_path = isinstance(source, (str, os.PathLike))
    if not is_path or not os.fspath(source).endswith(endings):
        raise ValueError(
            "`source` must be a Keras model, a dictionary of tensors or the "
            f"path of a file that ends in {', '.join(endings)}. "
            f"Received: {received}"
        )
    path = os.fspath(source)
    if not storage.isfile(path):
        raise ValueError(f"There is no file {path}. Received: {received}")
    if path.endswith(torch_files.ENDINGS):
        return read_torch_resnet(path)
    if path.endswith(".h5"):
        with storage.local_file(path) as file:
            return read_h5_resnet(file, received)
    return read_keras_resnet(load_keras_model(path), received)


def load_keras_model(path):
    """Loads a `.keras` file.

    Args:
        path: Path of a file.

    Returns:
        `keras.Model`, not compiled.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not a model that Keras reads: {error} "
            f"Received: source={path}"
        ) from error


def _describe(state, received):
    """Returns the `ResNetWeights` of a state dict, all of which must fit."""
    blocks = {}
    for stage, block in (x for key in state for x in _IN_BLOCK.findall(key)):
        blocks[int(stage)] = max(blocks.get(int(stage), 0), int(block) + 1)
    stages = range(1, max(blocks, default=0) + 1)
    blocks = tuple(blocks.get(stage, 1) for stage in stages)
    inner = [state.get(f"layer{i}.0.conv2.weight") for i in stages]
    last = state.get("layer1.0.conv3.weight")
    four = [x is not None and x.ndim == 4 for x in (*inner, last)]
    if not all(four):
        _refuse(state, {}, received)
    filters = tuple(len(kernel) for kernel in inner)
    fc = state.get("fc.weight")
    weights = ResNetWeights(
        state,
        blocks,
        filters,
        groups=max(filters[0] // inner[0].shape[1], 1),
        expansion=len(last) // filters[0],
        classes=None if fc is None else len(fc),
    )
    wanted = _shapes(weights)
    if wanted != {key: array.shape for key, array in state.items()}:
        _refuse(state, wanted, received)
    return weights


def _shapes(weights):
    """The shapes of all entries of such a network."""
    stem = weights.state.get("conv1.weight")
    image = stem.shape[1] if stem is not None and stem.ndim == 4 else 3
    channels = 64 if stem is None else len(stem)
    shapes = {"conv1.weight": (channels, image, 7, 7)}
    normalized = {"bn1": channels}
    for i, (blocks, width) in enumerate(
        zip(weights.blocks, weights.filters), start=1
    ):
        output = weights.expansion * width
        for j in range(blocks):
            block = f"layer{i}.{j}"
            per_group = width // weights.groups
            shapes[f"{block}.conv1.weight"] = (width, channels, 1, 1)
            shapes[f"{block}.conv2.weight"] = (width, per_group, 3, 3)
            shapes[f"{block}.conv3.weight"] = (output, width, 1, 1)
            for k, size in enumerate((width, width, output), start=1):
                normalized[f"{block}.bn{k}"] = size
            if j == 0 and (i > 1 or channels != output):
                shortcut = f"{block}.downsample"
                shapes[f"{shortcut}.0.weight"] = (output, channels, 1, 1)
                normalized[f"{shortcut}.1"] = output
            channels = output
    for name, size in normalized.items():
        shapes.update({f"{name}.{x}": (size,) for x in _STATISTICS})
    if weights.classes is not None:
        shapes["fc.weight"] = (weights.classes, channels)
        shapes["fc.bias"] = (weights.classes,)
    return shapes


def _refuse(state, wanted, received):
    """Raises with the entries that do not fit and what they point to."""
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} (received {state[key].shape}, expected {shape})"
            for key, shape in wanted.items()
            if key in state and state[key].shape != shape
        ],
    }
    if not wanted:
        problems = {"found": list(state)}
    lists = "; ".join(
        f"{kind}: {', '.join(keys[:_LISTED])}"
        + f" and {len(keys) - _LISTED} more" * (len(keys) > _LISTED)
        for kind, keys in problems.items()
        if keys
    )
    raise ValueError(
        "The source must be a ResNet or ResNeXt of bottleneck blocks as "
        f"torchvision has them{_reason(state)}. Entries {lists or 'none'}. "
        f"Received: {received}"
    )


def _reason(state):
    """What the names of another network point to, as far as is known."""
    keys = " ".join(state)
    if "layer0." in keys or "last_linear" in keys:
        return (
            ", and this is one of timm's legacy networks, whose stride is in "
            "the first 1×1 convolution"
        )
    if re.search(r"\b(conv1\.\d|stem|conv2_conv|conv3_conv)", keys):
        return ", and this one has a stem of several convolutions"
    if re.search(r"\.(se|se_module|se_layer|att|eca|cbam|attn)\.", keys):
        return ", and this one has attention in its blocks"
    if "downsample.2." in keys:
        return ", and this one has a pooling in its shortcuts"
    if "layer1.0.conv2." in keys and "layer1.0.conv3." not in keys:
        return ", and this one has basic blocks (depth 18 or 34)"
    return ""
