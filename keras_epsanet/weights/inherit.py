"""What a network takes over from a trained ResNet or another model."""

from typing import NamedTuple

import keras

from keras_epsanet.layers import PSA
from keras_epsanet.weights.inherit_layers import plan_layers
from keras_epsanet.weights.inherit_resnet import is_network, plan_resnet
from keras_epsanet.weights.public_resnets import read_source
from keras_epsanet.weights.pyramid_fit import Pair, fit_pyramids
from keras_epsanet.weights.resnet_like import resnet_like
from keras_epsanet.weights.sample_images import read_batches


class Inheritance(NamedTuple):
    """What `inherit_weights` gave to which layers.

    The name of a layer in a model in the model is `"backbone/conv1"`.

    Attributes:
        source: String, such as `"ResNeXt-50 32x4d"`.
        exact: Names of the layers that compute what the source computes.
        fitted: Names of the PSA and SPC modules that were fitted to the source,
            with the share of the variance of its output that they explain:
            of every eighth image, which they were not fitted to (of all, if
            there are fewer than eight). The statistics of the batch
            normalization behind each make up for the rest.
        partly: Names of the modules that hold a part of the source's
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
                modules = f"{len(shares)} module" + "s" * (len(shares) > 1)
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
            `PSA` or `SPC` layers in place of convolutions of `source`.
        source: Path of a ResNet's or ResNeXt's weights (`.pth`, `.pt`,
            `.pth.tar`, `.safetensors`, `.weights.h5`, `.keras` or `.h5`) in
            the names of torchvision, timm, MMPretrain or Keras (of a
            training's checkpoint the averaged model, if it has one); a
            dictionary of its tensors; a Keras model; or the name of a
            public file, such as `"resnet50.tv2"` (all are in the docs), or
            `"resnext"` for the one that EPSANet Large of this depth starts
            from exactly. It is downloaded once.
        images: Images to fit modules to, as `model` takes them: an array
            `(N, H, W, C)` (channels-first `(N, C, H, W)`), or batches of
            them, with or without labels, such as a `tf.data.Dataset`. Labels
            are not used. A few hundred are enough; the first 1,024 are used.
            512 of 224×224 pixels take about 5 GB of memory.
        seed: Integer; which pixels modules are fitted to follows from it.
        verbose: Whether a progress bar and a summary are shown.

    Returns:
        `Inheritance`: what was inherited exactly, fitted, in part, and left
        as it was.

    Raises:
        ValueError: If the source is not a ResNet of this depth and width
            with the stride in its 3×3 convolutions, has no layer in common
            with the model, or cannot be read; if one of both is quantized or
            has LoRA; or if there is no image, or one is of another shape or
            not finite. The model is left as it was.
        OSError: If a public file cannot be downloaded.
        ImportError: If PyTorch or safetensors is needed and not installed.

    Example:

    >>> import numpy as np
    >>> from keras_epsanet import EPSANet
    >>> sizes = {"input_shape": (32, 32, 3), "classes": 10}
    >>> resnet = EPSANet((1, 1), (64, 128), (3,), (1,), **sizes)
    >>> model = EPSANet((1, 1), (64, 128), (3, 5), (1, 4), **sizes)
    >>> images = np.random.default_rng(0).normal(size=(16, 32, 32, 3))
    >>> inherited = inherit_weights(model, resnet, images, verbose=False)
    >>> list(inherited.fitted)
    ['conv2_block1_psa', 'conv3_block1_psa']
    """
    _check_plain(model)
    if isinstance(source, keras.Model):
        _check_plain(source)
    if is_network(model) and not _has_scales(source):
        weights = read_source(model, source)
        plan = plan_resnet(model, weights)
        name = weights.name
    else:
        _check_is_model(source)
        plan = plan_layers(model, source)
        weights, name = None, source.name
    batches = None
    if images is not None and plan.partly:
        _check_can_be_fitted(plan)
        batches = read_batches(images, model)
    before = [(v, keras.ops.convert_to_numpy(v)) for v in model.variables]
    try:
        for variable, array in plan.assignments:
            variable.assign(array)
        explained = {}
        if batches is not None:
            if weights is not None:
                source = resnet_like(model, weights)
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


def _check_plain(model):
    """Raises if weights of a model are not what their layers compute with."""
    for layer in model._flatten_layers():
        if getattr(layer, "quantization_mode", None) is not None:
            what = f"is quantized to {layer.quantization_mode}"
        elif getattr(layer, "lora_enabled", False):
            what = "has LoRA"
        else:
            continue
        raise ValueError(
            "Neither the model nor its source may be quantized or have LoRA: "
            f"inherit first. Received: layer {layer.name}, which {what}"
        )


def _check_can_be_fitted(plan):
    fitted = {psa.name for psa, _, _ in plan.pairs}
    inner = [name for name in plan.partly if name not in fitted]
    if inner:
        raise ValueError(
            "Modules in models in the model cannot be fitted to images. Give "
            "the inner model itself, with images as they reach it, or no "
            "images; `where` of `replace_convolutions` leaves them out. "
            f"Received: images for a model with {', '.join(inner)}"
        )


def _check_is_model(source):
    if not isinstance(source, keras.Model):
        raise ValueError(
            "Only an EPSANet inherits from a file: a model of another kind "
            "inherits from a Keras model whose layers have the same names. "
            f"Received: source={source}"
        )
