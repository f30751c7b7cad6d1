"""What `weights=` accepts: Keras' files and PyTorch's, for any classifier."""

import os
import re
import warnings

import keras

from keras_epsanet import storage
from keras_epsanet.layers import PSA
from keras_epsanet.weights import torch_files, torch_names
from keras_epsanet.weights.embedding import Pyramid, exact_order
from keras_epsanet.weights.entries import first_few
from keras_epsanet.weights.inherit import inherit_weights
from keras_epsanet.weights.layer_names import find_prefixes, network_layers
from keras_epsanet.weights.public_resnets import RESNEXT
from keras_epsanet.weights.state_contents import common_names

_RESNEXT_GROUPS = 32
KERAS_ENDINGS = (".weights.h5", ".keras")


def check_weights(weights):
    """Raises if `weights` cannot be a file that `load_weights` reads.

    Args:
        weights: `None`, `"resnext"` or a path.

    Raises:
        ValueError: If it is `"imagenet"`, has an unknown ending, or if
            there is no such file.
    """
    if weights is None or weights == RESNEXT:
        return
    if weights == "imagenet":
        raise ValueError(
            "This package has no ImageNet weights, and nobody has published "
            'those of EPSANet: weights="resnext" starts EPSANet Large as the '
            "ResNeXt that it computes exactly. Files that the authors of "
            "other attentions have published are loaded by their path, "
            "weights=path; the docs, weights.md, say which there are. "
            "`keras_epsanet.inherit_weights` starts any of the networks from "
            "a ResNet; weights=None trains from scratch. "
            'Received: weights="imagenet"'
        )
    endings = KERAS_ENDINGS + torch_files.READ_ENDINGS
    must_be = (
        '`weights` must be None, "resnext" or the path of a file that ends in '
        f"{', '.join(endings)}. Received: weights={weights}"
    )
    if not isinstance(weights, (str, os.PathLike)):
        raise ValueError(must_be)
    if storage.isdir(weights):
        raise ValueError(f"{weights} is a folder. {must_be}")
    if not storage.isfile(weights):
        raise ValueError(f"There is no file {weights}. {must_be}")
    if not str(weights).endswith(endings):
        raise ValueError(must_be)


def load_weights(model, path, build_like):
    """Loads the file that `weights=` names into a model, all or nothing.

    Args:
        model: The network, without any layer in front of it.
        path: Path of the file, or `"resnext"`.
        build_like: Function of `include_top` and `classes` that builds a
            network like `model`, for Keras' files are read by a model.

    Raises:
        ValueError: If the file cannot be read or is not one of this network.
        OSError: If ResNeXt's file cannot be downloaded.
    """
    path = str(path)
    if path == RESNEXT:
        _start_as_resnext(model)
        return
    if path.endswith(torch_files.READ_ENDINGS):
        _load_torch(model, path)
        return
    try:
        with storage.local_file(path) as file:
            if path.endswith(".keras"):
                source = keras.saving.load_model(file, compile=False)
                source = _find_network(source)
            else:
                source = _read_weights_file(file, build_like)
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not a file of this network: {error}"
        ) from error
    # Of a network that was saved the name tells which it is.
    named = path.endswith(".keras") and not source.name.startswith("functional")
    told = f"The file holds {source.name}. " if named else ""
    _copy_weights(network_layers(source), network_layers(model), path, told)


def _start_as_resnext(model):
    modules = [x for x in network_layers(model).values() if isinstance(x, PSA)]
    for module in modules:
        pyramid = Pyramid(
            module.filters,
            module.filters,
            module.kernel_sizes,
            module.groups,
            module.split_input,
        )
        order = exact_order(_RESNEXT_GROUPS, pyramid)
        if order is None or min(module.kernel_sizes) < 3:
            raise ValueError(
                'weights="resnext" starts networks whose groups and kernels '
                "can hold those of ResNeXt 32x4d: EPSANet50Large, "
                "EPSANet101Large. "
                "`keras_epsanet.inherit_weights` fits others to a ResNet. "
                f'Received: weights="resnext", groups={module.groups}, '
                f"kernel_sizes={module.kernel_sizes}, filters={module.filters}"
            )
    inherit_weights(model, RESNEXT)


def _load_torch(model, path):
    state = common_names(torch_files.read_checkpoint(path))
    classifier = network_layers(model).get("predictions")
    found = wanted = 0
    if classifier and "fc.bias" in state:
        found, wanted = state["fc.bias"].size, classifier.units
    torch_names.assign_state_dict(model, state, skip_classifier=found != wanted)
    if found != wanted:
        _warn_of_classes(path, found, wanted)


def _find_network(model):
    """Returns the network that a model is or has as a layer."""
    networks = _networks(model)
    if len(networks) != 1:
        raise ValueError(f"it holds {len(networks)} networks, not one")
    if "conv1_bn" not in network_layers(networks[0]):
        _refuse_fused()
    return networks[0]


def _networks(model):
    if find_prefixes(model):
        return [model]
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [network for layer in inner for network in _networks(layer)]


def _refuse_fused():
    raise ValueError(
        "it holds a fused model, whose BatchNorms are gone: use the file of "
        "the model it was made from"
    )


def _read_weights_file(path, build_like):
    """Returns a network with the weights of a `.weights.h5`."""
    import h5py

    with h5py.File(path) as file:
        arrays = _count_arrays(file["layers"])
        dense = file["layers"].get("dense/vars/0")
        change = {"include_top": dense is not None}
        if dense is not None:
            change["classes"] = dense.shape[-1]
    if any(kind.startswith("fused_") for kind in arrays) or not any(
        kind.startswith("batch_normalization") for kind in arrays
    ):
        _refuse_fused()
    source = build_like(**change)
    source.load_weights(path)
    # What the model lacks Keras passes over in silence.
    found, wanted = sum(arrays.values()), len(source.weights)
    if found != wanted:
        kinds = sorted({re.sub(r"_\d+$", "", kind) for kind in arrays})
        raise ValueError(
            f"it has {found} arrays, not {wanted}, in layers of the kinds "
            f"{', '.join(kinds)}"
        )
    return source


def _count_arrays(group):
    """Returns the number of arrays in each member of a group of HDF5."""
    counts = {name: _arrays_below(member) for name, member in group.items()}
    return {name: count for name, count in counts.items() if count}


def _arrays_below(member):
    if hasattr(member, "shape"):
        return 1
    return sum(map(_arrays_below, member.values()))


def _copy_weights(source, target, path, told=""):
    """Copies the weights of layers to those of the same names.

    Args:
        source, target: Dictionaries from names to layers.
        path: Path of the file, for messages.
        told: String, what the file tells of its network.
    """
    assignments, classes = [], None
    wrong = [
        f"{name}: not in the model"
        for name in source
        if name not in target and name != "predictions"
    ]
    for name, layer in target.items():
        if name not in source and name != "predictions":
            wrong.append(f"{name}: not in the file")
            continue
        arrays = source[name].get_weights() if name in source else []
        found = [array.shape for array in arrays]
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if found == wanted:
            assignments.append((layer, arrays))
        elif name == "predictions" and found:
            classes = found[-1][0], wanted[-1][0]
        else:
            wrong.append(f"{name}: file {found}, model {wanted}")
    if wrong:
        raise ValueError(
            f"{path} does not fit the network, which was left as it was. "
            f"{told}Differing layers (shapes): {first_few(wrong, '; ')}"
        )
    for layer, values in assignments:
        layer.set_weights(values)
    if classes:
        _warn_of_classes(path, *classes)


def _warn_of_classes(path, found, wanted):
    """Warns that the classifier of a file is left out."""
    warnings.warn(
        f"The classifier of {path} has {found} classes, the model's "
        f"{wanted}: everything else was loaded, the classifier was not.",
        stacklevel=2,
    )
