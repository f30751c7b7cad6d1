"""ResNets in Keras: this package's, KerasHub's, keras-applications' files."""

import re
from typing import NamedTuple

import keras
import ml_dtypes
import numpy as np

from keras_epsanet.weights.resnet_torch import SEVERAL_SCALES
from keras_epsanet.weights.torch_files import to_numpy

# KerasHub counts stages and blocks from 0, the others from 2 and 1.
_BLOCK = re.compile(
    r"(?P<prefix>.*?)(?P<kind>conv|stack)(?P<stage>\d+)_block(?P<block>\d+)_"
    r"(?P<part>psa|[0-3]_conv|[0-3]_bn)"
)
_OUTSIDE = re.compile(
    r"(?P<prefix>.*?)(?P<part>conv1_conv|conv1_bn|predictions|probs)"
)
_TORCH = {
    "0_conv": "downsample.0",
    "0_bn": "downsample.1",
    "psa": "conv2",
    "conv1_conv": "conv1",
    "conv1_bn": "bn1",
    "predictions": "fc",
    "probs": "fc",
    **{f"{i}_conv": f"conv{i}" for i in (1, 2, 3)},
    **{f"{i}_bn": f"bn{i}" for i in (1, 2, 3)},
}
_NORMALIZED = ("weight", "bias", "running_mean", "running_var")
_EPSILON = 1e-5  # Of PyTorch's BatchNorm, and of all that is returned.
# keras-applications, resnet_common.py; no file of weights holds it.
_EPSILON_OF_APPLICATIONS = 1.001e-5
_NOT_OF_THE_NETWORK = ("dense", "normalization")
_BEFORE_ACTIVATION = ("preact_bn", "pre_activation_bn", "post_bn")
_SURGERY = "`replace_convolutions` builds PSA into such a model itself"


class Layer(NamedTuple):
    """What a model or a file says of a layer."""

    name: str
    kind: str  # Its class in snake case, as far as it is known.
    arrays: list  # Of a PSA its convolutions' kernels.
    strides: int | None = None
    epsilon: float | None = None


def read_keras_resnet(model, received):
    """Reads a Keras model into torchvision's names.

    Args:
        model: Keras model that is, or has as a layer, the network.
        received: String that names the source in messages.

    Returns:
        A dictionary of NumPy arrays.

    Raises:
        ValueError: If it is another network, such as a ResNet of
            `keras.applications`.
    """
    return _rename(list(_model_layers(model)), received)


def read_h5_resnet(path, received):
    """Reads a Keras file of weights into torchvision's names.

    Args:
        path: Path of a `.weights.h5` file, or of a `.h5` file of former
            versions of Keras.
        received: String that names the source in messages.

    Returns:
        A dictionary of NumPy arrays.

    Raises:
        ValueError: If it cannot be read or holds another network.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            if "layer_names" in group.attrs:
                layers = list(_former_layers(group))
            else:
                layers = list(_file_layers(file))
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not a file of Keras: {error}. "
            f"Received: {received}"
        ) from error
    return _rename(layers, received)


def _model_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _model_layers(layer)
        elif hasattr(layer, "spc"):
            kernels = [x.kernel for x in layer.spc.convolutions]
            arrays = [to_numpy(kernel.numpy()) for kernel in kernels]
            kind = "fused_psa" if _kind(layer) == "fused_psa" else "psa"
            yield Layer(layer.name, kind, arrays)
        elif layer.weights:
            strides = getattr(layer, "strides", None)
            if isinstance(strides, (tuple, list)):
                strides = strides[0]
            yield Layer(
                layer.name,
                _kind(layer),
                [to_numpy(weight.numpy()) for weight in layer.weights],
                strides,
                getattr(layer, "epsilon", None),
            )


def _kind(layer):
    """The class of a layer as files name it: dense, batch_normalization."""
    name = type(layer).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _file_layers(file):
    """Layers of a `.weights.h5`, which has their names beside the arrays."""
    found, psas = [], {}

    def visit(path, group):
        if not path.endswith("vars") or path.startswith("optimizer"):
            return
        path = path.removesuffix("/vars")
        kind = re.sub(r"_\d+$", "", path.rpartition("/")[-1])
        name = group.attrs.get("name", "")
        arrays = [_h5_array(group[key]) for key in sorted(group, key=int)]
        owner = next((x for x in psas if path.startswith(f"{x}/")), None)
        if kind == "psa":
            psas[path] = Layer(name, kind, [])
            found.append(psas[path])
        elif owner and "/spc/" in path:
            psas[owner].arrays.extend(arrays)
        elif arrays and not owner:
            found.append(Layer(name, kind, arrays))

    # In the order of names, ".../psa/se" comes before ".../psa/vars".
    groups = []
    file.visititems(lambda path, item: groups.append((path, item)))
    for path, group in sorted(groups, key=lambda x: x[0].count("/")):
        visit(path, group)
    return found


def _h5_array(dataset):
    array = np.asarray(dataset)
    if dataset.attrs.get("dtype") == "bfloat16":
        array = array.view(ml_dtypes.bfloat16)
    return to_numpy(array)


def _former_layers(group):
    """Layers of a file of Keras 2."""
    for name in map(_text, group.attrs["layer_names"]):
        names = [_text(x) for x in group[name].attrs["weight_names"]]
        arrays = [to_numpy(group[name][x]) for x in names]
        if not arrays:
            continue
        kind = "dense" if arrays[0].ndim == 2 else "batch_normalization"
        if arrays[0].ndim == 4:
            is_depthwise = "depthwise_kernel" in names[0]
            kind = "depthwise_conv2d" if is_depthwise else "conv2d"
        yield Layer(name, kind, arrays)


def _text(name):
    return name.decode() if isinstance(name, bytes) else name


def _rename(layers, received):
    """Turns layers into a state dict; all that have weights are known."""
    _check_kind(layers, received)
    is_depthwise = any(x.kind == "depthwise_conv2d" for x in layers)
    epsilon = _EPSILON_OF_APPLICATIONS if is_depthwise else _EPSILON
    state, unknown = {}, []
    for layer in layers:
        match = _BLOCK.fullmatch(layer.name) or _OUTSIDE.fullmatch(layer.name)
        if match:
            if layer.epsilon is None:
                layer = layer._replace(epsilon=epsilon)
            entries = _entries(layer, match)
            if state.keys() & entries.keys():
                raise ValueError(
                    "The source must be one network, and this holds several "
                    f"layers {match['part']}. Received: {received}"
                )
            state.update(entries)
        # A classifier of another name is left out.
        elif layer.kind not in _NOT_OF_THE_NETWORK:
            unknown.append(layer.name or layer.kind)
    if unknown or not state:
        raise ValueError(
            "The source must be a ResNet of bottleneck blocks with one "
            "convolution as stem, in the layer names of KerasHub, "
            "keras-applications or this package. Other layers with weights: "
            f"{', '.join(unknown[:6]) or 'none'}. Received: {received}"
        )
    # Basic blocks have their strides elsewhere, and are refused as such.
    if any(key.endswith("conv3.weight") for key in state):
        _check_strides(layers, received)
    return state


def _entries(layer, match):
    """Entries of a layer in PyTorch's layouts."""
    key = _TORCH[match["part"]]
    if "stage" in match.groupdict():
        kerashub = match["kind"] == "stack"
        stage = int(match["stage"]) + (1 if kerashub else -1)
        block = int(match["block"]) - (0 if kerashub else 1)
        key = f"layer{stage}.{block}.{key}"
    arrays = layer.arrays
    if match["part"].endswith("_bn"):
        if len(arrays) == 4:
            variance = arrays[3] + arrays[3].dtype.type(
                layer.epsilon - _EPSILON
            )
            arrays = [*arrays[:3], variance]
        names = _NORMALIZED
    else:
        names = ("weight", "bias")
        arrays = [_torch_kernel(arrays[0], layer.kind), *arrays[1:]]
    return {f"{key}.{name}": array for name, array in zip(names, arrays)}


def _torch_kernel(kernel, kind):
    if kernel.ndim != 4:
        return kernel.T
    if kind != "depthwise_conv2d":
        return kernel.transpose(3, 2, 0, 1)
    # keras-applications' grouped convolution: every input channel has an
    # output for each of its group's, whose sum is taken afterwards.
    height, width, filters, size = kernel.shape
    kernel = kernel.reshape(height, width, -1, size, size)
    kernel = kernel.transpose(2, 4, 3, 0, 1)
    return kernel.reshape(filters, size, height, width)


def _check_kind(layers, received):
    """Refuses networks that are known, but have other blocks."""
    reason = None
    convolutions = [x for x in layers if x.name.endswith("_conv")]
    if any(x.kind == "fused_psa" for x in layers):
        reason = (
            "its BatchNorms are merged into its convolutions: use the model "
            "it was made from"
        )
    elif any(x.kind == "psa" and len(x.arrays) != 1 for x in layers):
        reason = SEVERAL_SCALES
    elif any(x.name.endswith(_BEFORE_ACTIVATION) for x in layers):
        reason = f"it is a ResNet V2. {_SURGERY}"
    elif any(len(x.arrays) > 1 for x in convolutions):
        reason = (
            "its convolutions have biases, and in keras.applications' ResNet "
            f"the stride is in the first 1×1 convolution. {_SURGERY}"
        )
    elif not any(layer.name for layer in layers):
        reason = (
            "the file has no names of layers: load it into its model and "
            "give that"
        )
    if reason:
        raise ValueError(
            f"This is no source of weights, for {reason}. Received: {received}"
        )


def _check_strides(layers, received):
    """Refuses strides that are not in the 3×3 and the shortcut alone."""
    for layer in layers:
        match = _BLOCK.fullmatch(layer.name)
        if layer.strides is None or not match:
            continue
        first_stage, first_block = (
            (0, 0) if match["kind"] == "stack" else (2, 1)
        )
        halves = (
            int(match["stage"]) > first_stage
            and int(match["block"]) == first_block
            and match["part"] in ("0_conv", "2_conv")
        )
        if layer.strides != 1 + halves:
            raise ValueError(
                "A ResNet with the strides in the 3×3 convolution and in "
                f"the shortcut is needed, and {layer.name} has the stride "
                f"{layer.strides}. Received: {received}"
            )
