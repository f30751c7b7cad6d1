"""What the attention of a network weighs, image by image."""

import contextlib
import re
import warnings

import numpy as np

from keras_epsanet import attention as layers
from keras_epsanet.explain.attention_values import Attention, LayerAttention
from keras_epsanet.explain.class_scores import has_scores
from keras_epsanet.explain.gradients import to_float32
from keras_epsanet.explain.layer_search import all_calls
from keras_epsanet.explain.model_inputs import check_images, in_batches, run
from keras_epsanet.explain.replaced import replaced
from keras_epsanet.integers import check_positive
from keras_epsanet.layers import PSA, ClassNames

# What is multiplied with the input: a number for each channel, or also for
# each pixel.
_CHANNEL_GATES = (layers.SE, layers.ECA, layers.FCA, layers.SRM, layers.GSoP)
_PIXEL_GATES = (
    layers.BAM,
    layers.CBAM,
    layers.CoordinateAttention,
    layers.EMA,
    layers.ShuffleAttention,
    layers.SimAM,
    layers.TripletAttention,
)
SCALES = (PSA, layers.SelectiveKernel, layers.SplitAttention)
_OTHERS = (layers.GlobalContext, layers.AttentionBranch)
KINDS = (*SCALES, *_CHANNEL_GATES, *_PIXEL_GATES, *_OTHERS)


def attention(model, images, *, batch_size=16):
    """Reads what the attention of a model weighs.

    Of PSA, selective kernels and split attention the weights of the scales
    (equations 8 and 9 of the paper); of SE, ECA, FCA, SRM and GSoP those of
    the channels; of CBAM, BAM, coordinate, triplet and shuffle attention, SimAM
    and EMA those of channels and pixels; of global context and the attention
    branch those of the pixels. Layers in which each pixel weighs all others
    (non-local, A², AA, DANet's) have no such map.

    Args:
        model: Functional or built `Sequential` `keras.Model` with such
            layers, also in models in the model; fused or not.
        images: Array or tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`,
            as `model` takes them.
        batch_size: Integer, images that are computed at a time.

    Returns:
        `Attention`.

    Raises:
        ValueError: If the model has no such layer or takes other images.

    Example:

    >>> from keras_epsanet import EPSANet
    >>> model = EPSANet((1,), (64,), (3, 5), (1, 4), classes=10)
    >>> found = attention(model, np.ones((1, 224, 224, 3)))
    >>> found.layers[0].scale_names, found.layers[0].scales.shape
    (('3×3', '5×5'), (1, 2, 32))

    Reference: section 3.3 of [EPSANet](https://arxiv.org/abs/2105.14447).
    """
    images, _ = check_images(model, images)
    check_positive(batch_size=batch_size)
    found = find_attention(model)
    if not found:
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise ValueError(
            f"`model` has no layer of attention that can be read: {kinds}. "
            f"Received: model={model}"
        )
    parts, outputs = [], []
    for part in in_batches(images, batch_size):
        seen = {name: {} for name in found}
        with contextlib.ExitStack() as stack:
            for name, layer in found.items():
                _observe(stack, layer, seen[name])
            outputs.append(run(model, images[part]))
        parts.append(seen)
    names = [x.names for x in model.layers if isinstance(x, ClassNames)]
    return Attention(
        [_join(name, layer, parts) for name, layer in found.items()],
        np.concatenate(outputs).argmax(-1) if has_scores(model) else None,
        list(names[0]) if names else None,
    )


def find_attention(model, kinds=KINDS):
    """Finds the layers whose weights can be read.

    Args:
        model: Functional or built `Sequential` `keras.Model`.
        kinds: Tuple of the classes that are looked for.

    Returns:
        Dictionary from their names, behind those of the models they are in,
        to the layers, in the order of their calls.
    """
    return {
        name: layer
        for name, (layer, _) in all_calls(model).items()
        if isinstance(layer, kinds)
    }


def _join(name, layer, parts):
    """`LayerAttention` of all batches."""
    arrays = {
        key: np.concatenate([part[name][key] for part in parts])
        for key in parts[0][name]
    }
    return LayerAttention(
        name,
        type(layer).__name__,
        stage_of(name, layer),
        scale_names(layer) if "scales" in arrays else (),
        **arrays,
    )


def stage_of(name, layer):
    """Returns the stage that a layer is in.

    Args:
        name: String, its name.
        layer: The layer.

    Returns:
        String, as `"conv2"` of the name `"conv2_block1_psa"`; of other names
        the number of channels, which grows from stage to stage.

    Example:

    >>> stage_of("left/conv3_block1_psa", PSA(64))
    'conv3'
    >>> stage_of("my_psa", PSA(64))
    '64 channels'
    """
    stage = re.search(r"(conv\d+)_block", name)
    if stage:
        return stage[1]
    filters = getattr(layer, "filters", None)
    return f"{filters} channels" if filters else name


def scale_names(layer):
    """Returns the names of a layer's scales, a tuple of strings.

    Args:
        layer: Layer of one of `SCALES`.

    Example:

    >>> scale_names(PSA(64))
    ('3×3', '5×5', '7×7', '9×9')
    """
    if isinstance(layer, PSA):
        return tuple(f"{size}×{size}" for size in layer.kernel_sizes)
    if isinstance(layer, layers.SelectiveKernel):
        return tuple(f"dilation {rate}" for rate in layer.dilations)
    return tuple(f"part {i + 1}" for i in range(layer.radix))


def _observe(stack, layer, seen):
    """Notes what a layer weighs, from now on, until the stack is left."""

    def observe(name, note):
        method = getattr(layer, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            seen.update(note(args[0] if args else None, result))
            return result

        stack.enter_context(replaced(layer, name, call))

    if isinstance(layer, SCALES):
        observe("compete", lambda _, x: {"scales": to_float32(x)})
    if isinstance(layer, PSA):
        weigh = layer.weigh

        def note_maps(features, factors):
            seen["scale_maps"] = _scale_maps(layer, features, factors)
            return weigh(features, factors)

        stack.enter_context(replaced(layer, "weigh", note_maps))
    elif isinstance(layer, layers.GlobalContext):
        # Of the pixels in a row, whose sides the images tell.
        observe("compete", lambda _, x: {"pixels": to_float32(x)})
        observe("call", lambda x, _: {"pixels": _in_rows(layer, x, seen)})
    elif isinstance(layer, layers.AttentionBranch):
        observe("call", lambda _, y: {"pixels": _only_channel(layer, y[0])})
    elif isinstance(layer, (*_CHANNEL_GATES, *_PIXEL_GATES)):
        observe("call", lambda x, y: _gates(layer, x, y))


def _scale_maps(layer, features, factors):
    """Mean absolute value of each scale after its attention, `(N, S, h, w)`."""
    scales = len(layer.kernel_sizes)
    features, factors = to_float32(features), to_float32(factors)
    if layer.data_format == "channels_first":
        features = np.moveaxis(features, 1, -1)
    weighed = np.abs(features) * np.abs(factors)[:, None, None, :]
    weighed = weighed.reshape(*weighed.shape[:3], scales, -1)
    return np.moveaxis(weighed.mean(axis=-1), -1, 1)


def _in_rows(layer, inputs, seen):
    height, width = (inputs.shape[axis] for axis in layer.pixel_axes)
    return seen["pixels"].reshape(-1, height, width)


def _only_channel(layer, maps):
    return to_float32(maps).squeeze(layer.channel_axis)


def _gates(layer, inputs, outputs):
    """The factors that a layer has multiplied its input with."""
    inputs, outputs = to_float32(inputs), to_float32(outputs)
    if not layer.is_last:
        inputs, outputs = (np.moveaxis(x, 1, -1) for x in (inputs, outputs))
    if isinstance(layer, layers.ShuffleAttention):
        # The two halves of the channels lie alternately.
        pairs = outputs.reshape(*outputs.shape[:3], -1, 2)
        outputs = np.moveaxis(pairs, -1, -2).reshape(outputs.shape)
    is_zero = inputs == 0
    gates = outputs / np.where(is_zero, 1, inputs)
    gates = np.where(is_zero, np.nan, gates)
    with warnings.catch_warnings(action="ignore"):  # Of means of nothing.
        found = {"channels": np.nanmean(gates, axis=(1, 2))}
        if isinstance(layer, _PIXEL_GATES):
            found["pixels"] = np.nanmean(gates, axis=-1)
    return found
