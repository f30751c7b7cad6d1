"""What all blocks of a ResNet have in common."""

import functools
from typing import NamedTuple

import keras

from keras_epsanet.layers import BatchNormalization, GroupedConv2D
from keras_epsanet.models.attention_slot import AttentionSlot, Place


class Parts(NamedTuple):
    """Arguments and constructors that the layers of a network share."""

    prefix: str
    dtype: object
    data_format: str
    synchronized: bool
    norm_eval: bool
    downsampling: str
    attention: AttentionSlot | None
    num_blocks: tuple
    classes: int

    @property
    def channel_axis(self):
        """Integer, the axis of the channels."""
        return -1 if self.data_format == "channels_last" else 1

    @property
    def of_image(self):
        """Dictionary, arguments of all layers of images."""
        return {"data_format": self.data_format, "dtype": self.dtype}

    @property
    def convolution(self):
        """Constructor of a convolution."""
        return functools.partial(GroupedConv2D, **self.of_image)

    @property
    def normalization(self):
        """Constructor of a batch normalization."""
        return functools.partial(
            BatchNormalization,
            axis=self.channel_axis,
            synchronized=self.synchronized,
            norm_eval=self.norm_eval,
            dtype=self.dtype,
        )

    @property
    def relu(self):
        """Constructor of a ReLU."""
        return functools.partial(
            keras.layers.Activation, "relu", dtype=self.dtype
        )

    def place(self, x, stage, block, channels=None, strides=1):
        """Returns the place of a layer that is called with a Keras tensor.

        Args:
            x: Keras tensor.
            stage: Integer, from 1.
            block: Integer, from 1.
            channels: Integer, those of the layer's output; `None` means
                those of `x`.
            strides: Integer.
        """
        shape = list(x.shape[1:])
        inputs = shape.pop(-1 if self.channel_axis == -1 else 0)
        size = [n if n is None else -(-n // strides) for n in shape]
        return Place(
            channels or inputs,
            stage,
            block,
            self.num_blocks,
            strides,
            tuple(size),
            self.classes,
        )

    def attend(self, x, slot, place, name):
        """Applies the attention, if it has this slot and this place.

        Args:
            x: Keras tensor.
            slot: String, the slot of the network that has come.
            place: `Place`.
            name: String, prefix of the layer's name.

        Returns:
            Keras tensor, `x` itself where there is no attention.
        """
        attention = self.attention
        if attention is None or attention.slot != slot:
            return x
        if not attention.holds(place):
            return x
        name = f"{name}_{attention.name}"
        return attention.make(place, name, **self.of_image)(x)
