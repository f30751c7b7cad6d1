"""What `weights=` accepts: Keras' files and PyTorch's, for any classifier."""

import os
import warnings

import keras

from keras_epsanet import torch_checkpoint, torch_weights

KERAS_ENDINGS = (".weights.h5", ".keras")


def check_weights(weights):
    """Raises if `weights` cannot be a file that `load_weights` reads.

    Args:
        weights: `None` or a path.

    Raises:
        ValueError: If it is `"imagenet"`, has an unknown ending, or if
            there is no such file.
    """
    if weights is None:
        return
    if weights == "imagenet":
        raise ValueError(
            'There are no ImageNet weights of EPSANet: nobody has published '
            "them. Use weights=None to train from scratch, or the path of "
            'weights that you trained. Received: weights="imagenet"'
        )
    endings = KERAS_ENDINGS + torch_checkpoint.ENDINGS
    if not str(weights).endswith(endings):
        raise ValueError(
            "`weights` must be None or the path of a file that ends in "
            f"{', '.join(endings)}. Received: weights={weights}"
        )
    if not os.path.isfile(weights):
        raise ValueError(
            f"There is no file {weights}. Received: weights={weights}"
        )


def load_weights(model, path, build_like):
    """Loads the file that `weights=` names into a model, all or nothing.

    Args:
        model: The EPSANet, without any layer in front of it.
        path: Path of the file.
        build_like: Function of `include_top` and `classes` that builds a
            network like `model`, for Keras' files are read by a model.

    Raises:
        ValueError: If the file cannot be read or is not one of this network.
    """
    path = str(path)
    if path.endswith(torch_checkpoint.ENDINGS):
        _load_torch(model, path)
        return
    try:
        if path.endswith(".keras"):
            source = keras.saving.load_model(path, compile=False)
        else:
            classes, blocks = _classes_and_blocks(path)
            source = build_like(classes is not None, classes or 1)
            source.load_weights(path)
            # What the model lacks Keras passes over in silence.
            names = [layer.name for layer in source.layers]
            wanted = sum(name.endswith("_psa") for name in names)
            if blocks != wanted:
                raise ValueError(f"it has {blocks} blocks, not {wanted}")
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not a file of this network: {error}"
        ) from error
    _copy_weights(source, model, path)


def _load_torch(model, path):
    state = torch_checkpoint.read_checkpoint(path)
    classifiers = [x for x in model.layers if x.name == "predictions"]
    found = wanted = 0
    if classifiers and "fc.bias" in state:
        found, wanted = state["fc.bias"].size, classifiers[0].units
    torch_weights.assign_state_dict(
        model, state, skip_classifier=found != wanted
    )
    if found != wanted:
        _warn_of_classes(path, found, wanted)


def _classes_and_blocks(path):
    """Number of classes (or `None`) and of PSA layers in a `.weights.h5`."""
    import h5py

    with h5py.File(path) as file:
        layers = file["layers"]
        blocks = sum(name.split("_")[0] == "psa" for name in layers)
        if "dense" not in layers:
            return None, blocks
        return layers["dense/vars/0"].shape[-1], blocks


def _copy_weights(source, model, path):
    """Copies the weights of all layers of `model` from those of `source`."""
    arrays = {layer.name: layer.get_weights() for layer in source.layers}
    names = {layer.name for layer in model.layers} | {"predictions"}
    assignments, classes = [], None
    wrong = [
        f"{layer.name}: not in the model"
        for layer in source.layers
        if layer.weights
        and torch_weights.is_network_layer(layer.name)
        and layer.name not in names
    ]
    for layer in model.layers:
        found = [array.shape for array in arrays.get(layer.name, [])]
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if not wanted:
            continue
        if found == wanted:
            assignments.append((layer, arrays[layer.name]))
        elif layer.name == "predictions" and found:
            classes = found[-1][0], wanted[-1][0]
        else:
            wrong.append(f"{layer.name}: file {found}, model {wanted}")
    if wrong:
        raise ValueError(
            f"{path} does not fit the network, which was left as it was. "
            f"Differing layers (shapes): {'; '.join(wrong)}"
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
