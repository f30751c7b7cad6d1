"""What `fuse` makes: models and PSA modules without BatchNorms."""

import functools
import re

import keras

from keras_epsanet.layers import PSA
from keras_epsanet.ops.depthwise import convolve_depthwise


@keras.saving.register_keras_serializable(package="keras_epsanet")
class FusedModel(keras.Model):
    """Functional model without the BatchNorms it was trained with.

    Made by `fuse`. It predicts, evaluates, saves and exports as any model.
    In a model around it that is trained it stays as it is: its `trainable`
    is `False` whatever it is set to.

    Raises:
        ValueError: If it is to be trained by itself.
    """

    _pyramid_levels = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._freeze()

    @property
    def pyramid_level_inputs(self):
        """Names of the layers of a backbone's levels, otherwise `None`."""
        levels = self._pyramid_levels
        if levels is None:  # Of `clone_model`, which copies layers alone.
            levels = _levels_by_name(self)
        return dict(levels) or None

    @property
    def pyramid_outputs(self):
        """Outputs of a backbone's levels, otherwise `None`."""
        levels = self.pyramid_level_inputs
        return levels and {
            level: self.get_layer(name).output for level, name in levels.items()
        }

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        self._freeze()  # Whatever a model around this one is set to.

    def _freeze(self):
        # A model around this one trains by the flags of the weights. (An
        # assignment of what `trainable` is already would not reach them.)
        keras.Model.trainable.fset(self, False)

    def fit(self, *args, **kwargs):
        _refuse_training("fit(…)")

    def train_on_batch(self, *args, **kwargs):
        _refuse_training("train_on_batch(…)")

    def get_config(self):
        config = super().get_config()
        config["pyramid_level_inputs"] = self.pyramid_level_inputs
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        levels = config.pop("pyramid_level_inputs")
        model = super().from_config(config, custom_objects=custom_objects)
        model._pyramid_levels = levels or {}
        return model


def _levels_by_name(model):
    """Levels of a network with the layer names of `EPSANetBackbone`."""
    levels = {}
    for layer in model.layers:
        stage = re.search(r"conv(\d+)_block\d+_out$", layer.name)
        if stage:
            levels[f"P{stage.group(1)}"] = layer.name
    has_psa = any(isinstance(layer, PSA) for layer in model.layers)
    ends = [tensor._keras_history.operation.name for tensor in model.outputs]
    return levels if has_psa and ends == list(levels.values())[-1:] else {}


def _refuse_training(received):
    raise ValueError(
        "A fused model is for inference only, for its BatchNorms are gone: "
        f"train the model it was made from. Received: {received}"
    )


@keras.saving.register_keras_serializable(package="keras_epsanet")
class FusedPSA(PSA):
    """`PSA` with the BatchNorm that followed it.

    A BatchNorm's factors are multiplied into the attention of equation 10,
    which has a number for each channel already, so that one multiplication
    and one addition of the feature maps do the work of both layers.

    Has the shapes of `PSA`; `fuse` makes it.

    Args:
        *args: As in `PSA`.
        depthwise: Booleans, one for each scale: whether it is computed by
            depthwise convolutions, for ONNX Runtime. `None` means none is.
        **kwargs: As in `PSA`.
    """

    def __init__(self, *args, depthwise=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.depthwise = depthwise
        for convolution, is_depthwise in zip(
            self.spc.convolutions, depthwise or ()
        ):
            if is_depthwise:
                convolution.convolution_op = functools.partial(
                    convolve_depthwise,
                    strides=convolution.strides,
                    groups=convolution.groups,
                )

    def get_config(self):
        config = super().get_config()
        if self.depthwise:
            config["depthwise"] = self.depthwise
        return config

    def build(self, input_shape):
        super().build(input_shape)
        for name in ("scale", "shift"):
            weight = self.add_weight(
                name=name, shape=(self.filters,), trainable=False
            )
            setattr(self, name, weight)

    def weigh(self, features, factors):
        scaled = super().weigh(features, factors * self.scale)
        if self.data_format == "channels_last":
            return scaled + self.shift
        return scaled + self.shift[:, None, None]
