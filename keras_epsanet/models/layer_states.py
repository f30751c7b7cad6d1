"""What was changed in the layers of a network after it was built.

That a layer was frozen by hand, quantized or given LoRA, for example: the
config of the layer has it, the arguments of the network do not.
"""

import keras


def layer_configs(layers):
    """Returns a dictionary from names to the configs of layers."""
    return {layer.name: _plain(layer.get_config()) for layer in layers}


def changed_configs(before, after):
    """Returns by layer the entries of its config that have changed.

    Args:
        before, after: Dictionaries that `layer_configs` returned.
    """
    changes = {
        name: {
            key: value
            for key, value in after[name].items()
            if key not in config or config[key] != value
        }
        for name, config in before.items()
    }
    return {name: change for name, change in changes.items() if change}


def rebuild(network, changes):
    """Builds a functional model again with what `changed_configs` returned."""

    def clone(layer):
        config = {**layer.get_config(), **changes.get(layer.name, {})}
        return layer.__class__.from_config(config)

    return keras.models.clone_model(network, clone_function=clone)


def _plain(config):
    """Returns a config without the ids that it has while a file is written."""
    if isinstance(config, dict):
        return {
            key: _plain(value)
            for key, value in config.items()
            if key != "shared_object_id"
        }
    if isinstance(config, (list, tuple)):
        return type(config)(map(_plain, config))
    return config
