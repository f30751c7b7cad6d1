"""What a network takes over from a trained ResNet or another model."""

import warnings
from typing import NamedTuple

import keras
import numpy as np

from keras_epsanet.layers import PSA
from keras_epsanet.weights.inherit_layers import plan_layers
from keras_epsanet.weights.inherit_resnet import is_network, plan_resnet
from keras_epsanet.weights.public_resnets import (
    is_public_name,
    read_public_resnet,
)
from keras_epsanet.weights.pyramid_fit import Pair, fit_pyramids
from keras_epsanet.weights.resnet_names import read_resnet

# Each takes some MB of memory while modules are fitted (at 224×224 pixels).
MOST_IMAGES = 1024
_BATCH = 32


class Inheritance(NamedTuple):
    """What `inherit_weights` gave to which layers.

    Attributes:
        source: String, such as `"ResNeXt-50 32x4d"`.
        exact: Names of the layers that compute what the source computes.
        fitted: Names of the PSA modules that were fitted to the source,
            with the share of the variance of its output that they explain.
        partly: Names of the PSA modules that hold a part of the source's
            kernel, with the share of its energy (sum of squares).
        left: Names of the layers with weights that were left as they were.
    """

    source: str
    exact: tuple
    fitted: dict
    partly: dict
    left: tuple

    def __str__(self):
        parts = [f"{len(self.exact)} layers exactly"]
        for shares, what in (
            (self.fitted, "fitted (variance explained: {:.0%})"),
            (self.partly, "in part (energy kept: {:.0%})"),
        ):
            if shares:
                mean = sum(shares.values()) / len(shares)
                modules = f"{len(shares)} PSA module" + "s" * (len(shares) > 1)
                parts.append(f"{modules} {what.format(mean)}")
        if self.left:
            names = ", ".join(self.left[:4])
            more = ", ..." if len(self.left) > 4 else ""
            parts.append(f"{len(self.left)} left as they were ({names}{more})")
        text = f"Initialized from {self.source}: {'; '.join(parts)}."
        if self.partly:
            text += (
                " Fit the modules with `images`, or run "
                "`recalibrate_batch_norm` before the model is used."
            )
        return text


def inherit_weights(model, source, images=None, seed=0, verbose=True):
    """Starts a network from the weights of a trained ResNet or other model.

    An EPSANet has the stem, 1×1 convolutions, batch normalizations,
    shortcuts and classifier of a ResNet of its depth and width, which are
    copied. In place of the ResNet's 3×3 convolutions it has PSA modules:

    - If their groups can hold the 3×3 kernels, they do, with zeros around
      them, and the network computes **exactly** what the ResNet computes:
      EPSANet Large and ResNeXt 32x4d.
    - Otherwise channels are put in the order that keeps most of the kernels
      (an assignment problem), and, with `images`, the modules are **fitted**
      one after another to what the ResNet's convolutions make of these:
      EPSANet Small and ResNet.

    The attention starts neutral: `fc2` of `SEWeight` is zero, so that all
    scales weigh the same, whatever the image.

    A model of any other kind inherits from a Keras model whose layers have
    the same names, as `replace_convolutions` makes it.

    Args:
        model: An EPSANet or `EPSANetBackbone`, or a functional model with
            `PSA` layers in place of convolutions of `source`.
        source: Path of a ResNet's or ResNeXt's weights (`.pth`, `.pt`,
            `.pth.tar`, `.safetensors`, `.weights.h5`, `.keras` or `.h5`) in
            the names of torchvision, timm, MMPretrain or Keras; a
            dictionary of its tensors; a Keras model; or the name of a
            public file, such as `"resnet50.tv2"` (all are in the docs), or
            `"resnext"` for the one that EPSANet Large of this depth starts
            from exactly. It is downloaded once.
        images: Images to fit modules to, as `model` takes them: an array
            `(N, H, W, C)`, or batches of them, with or without labels, such
            as a `tf.data.Dataset`. Labels are not used. A few hundred are
            enough; the first 1,024 are used.
        seed: Integer; which pixels modules are fitted to follows from it.
        verbose: Whether a progress bar and a summary are shown.

    Returns:
        `Inheritance`: what was inherited exactly, fitted, in part, and left
        as it was.

    Raises:
        ValueError: If the source is not a ResNet of this depth and width
            with the stride in its 3×3 convolutions, has no layer in common
            with the model, or cannot be read. The model is left as it was.
        OSError: If a public file cannot be downloaded.
        ImportError: If PyTorch or safetensors is needed and not installed.

    Example:

    >>> from keras_epsanet import EPSANet
    >>> sizes = {"input_shape": (32, 32, 3), "classes": 10}
    >>> resnet = EPSANet((1, 1), (64, 128), (3,), (1,), **sizes)
    >>> model = EPSANet((1, 1), (64, 128), (3, 5), (1, 4), **sizes)
    >>> images = np.random.default_rng(0).normal(size=(16, 32, 32, 3))
    >>> inherited = inherit_weights(model, resnet, images, verbose=False)
    >>> list(inherited.fitted)
    ['conv2_block1_psa', 'conv3_block1_psa']
    """
    batches = None if images is None else _read_batches(images, model)
    if is_network(model) and not _has_scales(source):
        if is_public_name(source):
            weights = read_public_resnet(model, source)
        else:
            weights = read_resnet(source)
        plan = plan_resnet(model, weights)
        name = weights.name
    else:
        _check_is_model(source)
        plan = plan_layers(model, source)
        weights, name = None, source.name
    fits = batches is not None and plan.pairs
    before = [(v, v.numpy()) for v, _ in plan.assignments]
    try:
        for variable, array in plan.assignments:
            variable.assign(array)
        explained = {}
        if fits:
            if weights is not None:
                source = _resnet_like(model, weights)
            explained = _fit(model, source, plan, batches, seed, verbose)
    except BaseException:
        for variable, array in before:
            variable.assign(array)
        raise
    inherited = Inheritance(
        name,
        tuple(plan.exact),
        explained,
        {k: v for k, v in plan.partly.items() if k not in explained},
        tuple(plan.left),
    )
    if verbose:
        print(inherited)
    return inherited


def _fit(model, source, plan, batches, seed, verbose):
    names = {layer.name: layer for layer in source.layers}
    pairs = [
        Pair(psa, names[source_name], order)
        for psa, source_name, order in plan.pairs
    ]
    return fit_pyramids(model, source, pairs, batches, seed, verbose)


def _resnet_like(model, weights):
    """Returns the ResNet that a network inherits from, with its layers' names.

    With one scale the softmax over the scales is 1, and an EPSANet a ResNet.
    """

    def clone(layer):
        if not isinstance(layer, PSA):
            return type(layer).from_config(layer.get_config())
        return PSA(
            layer.filters,
            kernel_sizes=(3,),
            groups=(weights.groups,),
            strides=layer.strides,
            data_format=layer.data_format,
            dtype=layer.dtype_policy,
            name=layer.name,
        )

    with warnings.catch_warnings():
        # Keras asks whether the softmax over one scale is meant.
        warnings.filterwarnings("ignore", message=".*softmax.*")
        source = keras.models.clone_model(
            keras.Model(model.inputs, model.outputs), clone_function=clone
        )
    for variable, array in plan_resnet(source, weights).assignments:
        variable.assign(array)
    return source


def _has_scales(source):
    """Whether a source is an EPSANet that is no ResNet."""
    return (
        isinstance(source, keras.Model)
        and is_network(source)
        and any(
            isinstance(layer, PSA) and len(layer.kernel_sizes) > 1
            for layer in source.layers
        )
    )


def _check_is_model(source):
    if not isinstance(source, keras.Model):
        raise ValueError(
            "Only an EPSANet inherits from a file: a model of another kind "
            "inherits from a Keras model whose layers have the same names. "
            f"Received: source={source}"
        )


def _read_batches(images, model):
    """Returns the images as a list of small arrays, at most `MOST_IMAGES`."""
    if hasattr(images, "shape") and hasattr(images, "__getitem__"):
        images = [images]
    batches, left = [], MOST_IMAGES
    for batch in images:
        if isinstance(batch, (tuple, list)):
            batch = keras.utils.unpack_x_y_sample_weight(tuple(batch))[0]
        batch = keras.ops.convert_to_numpy(batch[:left])
        _check_batch(batch, model)
        batch = batch.astype("float32")
        batches += [batch[i : i + _BATCH] for i in range(0, len(batch), _BATCH)]
        left -= len(batch)
        if not left:
            break
    if not batches:
        raise ValueError(f"There must be an image. Received: images={images}")
    return batches


def _check_batch(batch, model):
    shape = tuple(model.inputs[0].shape[1:])
    fits = len(model.inputs) == 1 and np.ndim(batch) == len(shape) + 1
    if not fits or any(
        wanted not in (None, size)
        for wanted, size in zip(shape, batch.shape[1:])
    ):
        raise ValueError(
            "`images` must be batches of images of the model's shape, "
            f"{shape}. Received: a batch of shape {np.shape(batch)}"
        )
    if not np.isfinite(batch).all():
        raise ValueError(
            "`images` must be finite. Received: a batch with NaN or infinity"
        )
