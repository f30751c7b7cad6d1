"""Copies of a layer with all that it computes from, which is not its weights
alone: tables of words, numbers made from weights, merged LoRA kernels."""

import tempfile

import keras
from keras import ops

LORA = ("lora_rank", "lora_alpha")


def config_without_lora(layer):
    """Returns the configuration of a layer whose LoRA is in its kernel."""
    config = layer.get_config()
    if _has_lora(layer):
        return _without_lora(config)
    if "sublayers" in config:
        # What the sublayers of PSA, SPC and SEWeight have of their own.
        config["sublayers"] = _without_lora(config["sublayers"])
    return config


def _without_lora(config):
    return {
        key: _without_lora(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in LORA
    }


def _has_lora(layer):
    return getattr(layer, "lora_enabled", False)


def copy_layer(layer):
    """Returns a new layer of the same class and arguments.

    Args:
        layer: Keras layer or other operation.

    Returns:
        A layer, which has no state yet: `copy_state` gives it.

    Raises:
        ValueError: If the class cannot make a layer from its configuration.
    """
    try:
        if type(layer) is keras.layers.Lambda:
            return _copy_lambda(layer)
        return type(layer).from_config(config_without_lora(layer))
    except Exception as error:
        raise ValueError(
            f"Layer {layer.name} cannot be copied, for {type(layer).__name__}"
            f".from_config(layer.get_config()) fails: {error} "
            f"Received: {layer}"
        ) from error


def _copy_lambda(layer):
    # Keras refuses Python's lambdas that come from a configuration.
    return keras.layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        **keras.layers.Layer.get_config(layer),
    )


def copy_state(layer, copy):
    """Gives a copy the state of a layer and of all layers in it.

    It goes through Keras' own saving and loading of a layer, after which a
    layer has what it computes from its weights too.

    Args:
        layer: Keras layer.
        copy: Layer of the same configuration, built for the same shapes.

    Raises:
        ValueError: If the copy has other variables than the layer.
    """
    pairs = zip(layer._flatten_layers(), copy._flatten_layers(), strict=True)
    try:
        for original, other in pairs:
            _copy_own_state(original, other)
    except Exception as error:
        raise ValueError(
            f"The state of layer {layer.name} cannot be copied, for "
            f"{type(layer).__name__}.from_config(layer.get_config()) makes a "
            f"layer with other variables: {error} Received: {layer}"
        ) from error


def _copy_own_state(layer, copy):
    if layer.quantization_mode != copy.quantization_mode:
        # The configuration of what holds the layer need not say it.
        copy.quantize(layer.quantization_mode, config=layer.quantization_config)
    if _has_lora(layer) and layer.quantization_mode is not None:
        return _copy_quantized_lora(layer, copy)
    store = {}
    layer.save_own_variables(store)
    copy.load_own_variables(
        {key: ops.convert_to_numpy(value) for key, value in store.items()}
    )
    if hasattr(layer, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            copy.load_assets(folder)
    seeds = zip(layer._seed_generators, copy._seed_generators, strict=True)
    for seed, other in seeds:
        other.state.assign(seed.state)


def _copy_quantized_lora(layer, copy):
    # Keras' saving would merge and so round the kernel once more.
    if not _has_lora(copy):
        copy.enable_lora(layer.lora_rank)
    # Keras loses it where a configuration has made a layer with LoRA.
    copy.lora_alpha = layer.lora_alpha
    weights = {weight.name: weight for weight in copy.weights}
    for weight in layer.weights:
        weights.pop(weight.name).assign(weight)
