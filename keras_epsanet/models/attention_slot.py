"""What `attention=` can be, and where in a ResNet it stands."""

from typing import NamedTuple

import keras

SLOTS = (
    "residual",
    "convolution",
    "convolution_norm_relu",
    "after_convolution",
    "output",
    "branch",
)


class Place(NamedTuple):
    """A place in a network that a layer is made for.

    Attributes:
        channels: Integer: filters of the convolution that the layer stands
            for or behind, or the channels of the block's output.
        stage: Integer, 1 for the stage behind the stem, whose layers are
            `conv2_…`.
        block: Integer, 1 for the first block of the stage.
        num_blocks: Tuple, blocks of every stage of the network.
        strides: Integer, 1 if the layer is not in place of a convolution.
        size: Pair of integers, height and width of the layer's output, or
            `None` for one that is not known.
        classes: Integer, number of classes.
    """

    channels: int
    stage: int
    block: int
    num_blocks: tuple
    strides: int = 1
    size: tuple = (None, None)
    classes: int = 1000


@keras.saving.register_keras_serializable(package="keras_epsanet")
class AttentionSlot:
    """An attention and the places of a ResNet where it stands.

    `ResNet(attention=…)` takes one where the layer itself is not enough: a
    layer of another package that takes the place of a convolution, for
    example.

    Args:
        attention: A layer, which every place gets a copy of, or a function
            that makes one from the number of channels and the stage, from 1.
            In place of a convolution the copy gets the `filters`, if it is a
            layer, and the `strides` of that convolution, in either case its
            `data_format`, `dtype` and name.
        slot: Where in a block it stands:

            - `"residual"`: behind the last BatchNorm, before the shortcut is
              added. Most attention does.
            - `"convolution"`: in place of the 3×3 convolution.
            - `"convolution_norm_relu"`: in place of the 3×3 convolution, its
              BatchNorm and its ReLU.
            - `"after_convolution"`: between the 3×3 convolution and its
              BatchNorm.
            - `"output"`: behind the last ReLU of the block.
        places: Those that have it: stages, from 1, or pairs of a stage and
            a block of it, from 1; -1 is the last one. `None` is all blocks.
        name: What its layers are called behind `conv2_block1_`.

    Raises:
        ValueError: If `slot` is another word, or `attention` neither a layer
            nor a function.

    Example:

    >>> from keras_epsanet import ResNet50
    >>> pool = keras.layers.AveragePooling2D(2, 1, padding="same")
    >>> smooth = AttentionSlot(pool, "output", [(4, -1)], name="smooth")
    >>> model = ResNet50(attention=smooth, input_shape=(32, 32, 3))
    >>> model.get_layer("conv5_block3_smooth").output.shape
    (None, 1, 1, 2048)
    """

    def __init__(
        self, attention, slot="residual", places=None, name="attention"
    ):
        if slot not in SLOTS:
            raise ValueError(
                f"`slot` must be one of {', '.join(SLOTS)}. "
                f"Received: slot={slot!r}"
            )
        if not callable(attention):
            raise ValueError(
                "`attention` must be a layer, or a function of the channels "
                "and the stage that makes one. "
                f"Received: attention={attention!r}"
            )
        self.attention = attention
        self.slot = slot
        self.places = places if places is None else [*map(_pair, places)]
        self.name = name

    def holds(self, place):
        """Whether a block has the attention."""
        if self.places is None:
            return True
        from_end = place.block - place.num_blocks[place.stage - 1] - 1
        return any(
            stage == place.stage and block in (None, place.block, from_end)
            for stage, block in self.places
        )

    def make(self, place, name, **arguments):
        """Returns a new layer for a place.

        Args:
            place: `Place`.
            name: String, name of the layer.
            **arguments: `data_format` and `dtype`, which replace those of
                the layer where it has them. `None` leaves them.

        Raises:
            ValueError: If the function does not return a layer, or that
                cannot be copied.
        """
        layer = self._make(place)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                "The function of `attention` must return a Keras layer. "
                f"Received: {layer} for stage {place.stage} with "
                f"{place.channels} channels"
            )
        config = layer.get_config()
        if self.slot in ("convolution", "convolution_norm_relu"):
            arguments["strides"] = place.strides
            if layer is self.attention:
                arguments["filters"] = place.channels
        changes = {
            key: value
            for key, value in arguments.items()
            if key in config and value is not None
        }
        return type(layer).from_config({**config, **changes, "name": name})

    def _make(self, place):
        if isinstance(self.attention, keras.layers.Layer):
            return self.attention
        return self.attention(place.channels, place.stage)

    def get_config(self):
        """Returns the arguments, the attention as Keras serializes it."""
        return {
            "attention": keras.saving.serialize_keras_object(self.attention),
            "slot": self.slot,
            "places": self.places,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Returns the slot that `get_config` described."""
        attention = keras.saving.deserialize_keras_object(
            config["attention"], custom_objects=custom_objects
        )
        return cls(**{**config, "attention": attention})


class NamedSlot(AttentionSlot):
    """Slot whose function makes its layers from all of a `Place`."""

    def _make(self, place):
        return self.attention(place)


def _pair(place):
    """Returns a stage and a block of `places`; `None` is all blocks."""
    return (place, None) if isinstance(place, int) else tuple(place)
