"""Presets of KerasHub: a backbone in a folder or a repository of a hub."""

import keras

from keras_epsanet import storage


class PresetModel(keras.Model):
    """A backbone that KerasHub saves and loads as one of its own.

    KerasHub does the work, and is imported when it is needed.
    """

    # KerasHub asks every backbone for one.
    token_embedding = None

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Makes the backbone of a preset, which may be that of a task.

        Args:
            preset: Path of a folder that `save_to_preset` has written, or
                where a hub has it: `"hf://USER/NAME"` (Hugging Face),
                `"kaggle://USER/MODEL/keras/VARIATION"`, with `/VERSION`
                behind it or without.
            load_weights: Whether the weights are loaded too.
            **kwargs: Arguments of the class that replace those of the
                preset, such as `freeze_stages=2`. `dtype` is that of the
                preset only if it is given: otherwise the global one.

        Returns:
            The backbone.

        Raises:
            ImportError: If KerasHub or the client of the hub is missing.
            ValueError: If there is no such preset, or it is of another
                class.
        """
        load = import_keras_hub().models.Backbone.from_preset
        # KerasHub's class method, which asks no more of its class than that
        # the backbone of the preset is one of it.
        return load.__func__(cls, preset, load_weights, **kwargs)

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Writes `config.json`, `metadata.json` and the weights to a folder.

        Args:
            preset_dir: Path of the folder. It is made if need be.
            max_shard_size: Number, gigabytes that a file of weights has at
                most; `None` for one file of any size.

        Raises:
            ImportError: If KerasHub is missing.
            ValueError: If the folder is in a storage, such as `gs://`.
        """
        if storage.is_remote(preset_dir):
            raise ValueError(
                "A preset is written to a folder of this machine. "
                f"Received: preset_dir={preset_dir!r}"
            )
        save = import_keras_hub().models.Backbone.save_to_preset
        save(self, preset_dir, max_shard_size)


def import_keras_hub():
    """Returns the module of KerasHub.

    Raises:
        ImportError: If it is missing.
    """
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        if error.name != "keras_hub":
            raise
        raise ImportError(
            "A preset needs keras_hub: pip install keras-hub"
        ) from error
    return keras_hub
