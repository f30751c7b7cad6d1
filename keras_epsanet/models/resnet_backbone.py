"""ResNet with any attention as the backbone of a detector or a segmentation."""

import inspect

import keras

from keras_epsanet.integers import python_integers
from keras_epsanet.models.arguments import (
    any_size,
    check_image_shape,
    check_variant,
    refuse_unknown,
)
from keras_epsanet.models.attention_slot import Place
from keras_epsanet.models.freezing import check_freeze_stages, freeze, is_frozen
from keras_epsanet.models.layer_states import (
    changed_configs,
    layer_configs,
    rebuild,
)
from keras_epsanet.models.named_attention import resolve_attention
from keras_epsanet.models.presets import PresetModel
from keras_epsanet.models.resnet import ResNet
from keras_epsanet.models.resnet_variants import (
    RESNET_CONFIGS,
    network_arguments,
)


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ResNetBackbone(PresetModel):
    """ResNet without its classifier, with the feature map of every stage.

    KerasCV finds the feature maps in `pyramid_level_inputs`, KerasHub in
    `pyramid_outputs`.

    Args:
        stackwise_num_blocks, stackwise_num_filters: As in `ResNet`.
        attention, synchronized, expansion: As there. A function must be
            registered with Keras for the backbone to be saved.
        stem_filters, stem_pool, downsampling, classes: As there; `classes`
            are those of an `AttentionBranch`.
        norm_eval: Whether BatchNorm uses its moving statistics in training
            too, as detectors do; scale and shift still train.
        freeze_stages: Integer, number of stages that do not train: 0 none,
            1 the stem and the first stage, 2 the second too, and so on.
            Their BatchNorms are fixed altogether. They train again when
            `trainable` of every layer is set; that of the backbone is true
            already, and setting it again does nothing on TensorFlow.
        weights: As in `ResNet50`; a classifier in the file is
            ignored.
        image_shape: Shape of one image, such as `(512, 512, 3)`; height and
            width may be `None`. `None` means `(None, None, 3)`.
        input_tensor: Optional Keras tensor to use as the image input. The
            layers that it comes from become layers of the backbone.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        dtype: Dtype policy of the model and of every layer; `None` means
            the global one.
        prefix: As in `ResNet`; the names in `pyramid_level_inputs` have it
            too.
        name: Name of the model.
        trainable: Whether it trains, as if `trainable` was set afterwards.
        **kwargs: `layers`, as `get_config` returns it. An unknown argument
            is an error that names the one that may be meant.

    Attributes:
        data_format: `"channels_last"` or `"channels_first"`.
        pyramid_outputs: Dictionary from `"P2"` … `"P5"` to the Keras tensor
            of that level; level n is `2 ** n` times smaller than the image.
        pyramid_level_inputs: Dictionary from `"P2"` … `"P5"` to the name of
            the layer whose output it is.

    Raises:
        ValueError: If an argument is out of range, or the file of `weights`
            is not one of this network.
        TypeError: If an argument is unknown.

    Example:

    >>> backbone = ResNetBackbone.from_variant("resnet50", "se")
    >>> features = keras.Model(backbone.input, backbone.pyramid_outputs)
    >>> levels = features(keras.ops.ones((1, 64, 96, 3)))
    >>> levels["P3"].shape == (1, 8, 12, 512)
    True
    """

    def __new__(cls, *args, **kwargs):
        # Here, for `__init__` misses its other arguments first.
        variant = [*args, kwargs.get("stackwise_num_blocks")][0]
        if isinstance(variant, str):
            raise ValueError(
                "`stackwise_num_blocks` must be integers. A network of the "
                f'paper is {cls.__name__}.from_variant("{variant}"). '
                f"Received: stackwise_num_blocks={variant!r}"
            )
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        stackwise_num_blocks,
        stackwise_num_filters,
        attention=None,
        synchronized=False,
        *,
        expansion=4,
        stem_filters=(64,),
        stem_pool=True,
        downsampling="convolution",
        classes=1000,
        norm_eval=False,
        freeze_stages=0,
        weights=None,
        image_shape=None,
        input_tensor=None,
        data_format=None,
        dtype=None,
        prefix="",
        name=None,
        trainable=True,
        **kwargs,
    ):
        changes = kwargs.pop("layers", {})
        known = inspect.signature(ResNetBackbone.__init__).parameters
        refuse_unknown("ResNetBackbone", kwargs, known)
        stages = len(stackwise_num_blocks)
        freeze_stages = check_freeze_stages(freeze_stages, stages)
        config = {
            "stackwise_num_blocks": tuple(stackwise_num_blocks),
            "stackwise_num_filters": tuple(stackwise_num_filters),
            "synchronized": synchronized,
            "expansion": expansion,
            "stem_filters": tuple(stem_filters),
            "stem_pool": stem_pool,
            "downsampling": downsampling,
            "classes": classes,
            "norm_eval": norm_eval,
            "prefix": prefix,
        }
        config = {key: python_integers(value) for key, value in config.items()}
        network = ResNet(
            **config,
            attention=attention,
            include_top=False,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=check_image_shape(image_shape, data_format),
            data_format=data_format,
            dtype=dtype,
        )
        freeze(network, freeze_stages if trainable else None, prefix)
        built_configs = layer_configs(_own_layers(network, input_tensor))
        policy = network.dtype_policy
        if changes:
            network = rebuild(network, changes)
        # Not as an attribute, which would set the flags of all layers.
        super().__init__(
            network.input, network.output, name=name, trainable=trainable
        )
        self.dtype_policy = policy
        self._built_configs = built_configs
        self._has_front = input_tensor is not None
        stem = self.get_layer(f"{prefix}conv1_conv")
        self._config = {
            **config,
            "freeze_stages": freeze_stages,
            "image_shape": tuple(stem.input.shape[1:]),
            "data_format": stem.data_format,
        }
        # Behind a function, for Keras would take a layer for one of its own.
        self._attention = lambda: attention

    @property
    def data_format(self):
        return self._config["data_format"]

    # Properties, for Keras wraps dictionaries that are attributes, and JAX
    # refuses a model with such outputs.
    @property
    def pyramid_level_inputs(self):
        num_blocks = self._config["stackwise_num_blocks"]
        slot = resolve_attention(self._attention())
        levels = {}
        for stage, blocks in enumerate(num_blocks, start=1):
            place = Place(None, stage, blocks, num_blocks)
            is_last = slot and slot.slot == "output" and slot.holds(place)
            block = f"{self._config['prefix']}conv{stage + 1}_block{blocks}"
            last = slot.name if is_last else "out"
            levels[f"P{stage + 1}"] = f"{block}_{last}"
        return levels

    @property
    def pyramid_outputs(self):
        return {
            level: self.get_layer(name).output
            for level, name in self.pyramid_level_inputs.items()
        }

    @classmethod
    def from_variant(
        cls,
        variant,
        attention=None,
        weights=None,
        image_shape=(None, None, 3),
        freeze_stages=0,
        norm_eval=False,
        **kwargs,
    ):
        """Builds the backbone of a published network.

        Args:
            variant: `"resnet50"` or `"resnet101"`.
            attention: As in `ResNet50`, which is the network.
            weights, image_shape, freeze_stages, norm_eval: As in the class.
            **kwargs: Other arguments of the class.

        Returns:
            A `ResNetBackbone`.

        Raises:
            ValueError: If there is no such variant, or as in the class.
        """
        check_variant(variant, RESNET_CONFIGS)
        return cls(
            weights=weights,
            image_shape=any_size(image_shape),
            freeze_stages=freeze_stages,
            norm_eval=norm_eval,
            attention=attention,
            **{
                "name": variant,
                **network_arguments(variant, attention),
                **kwargs,
            },
        )

    def network_config(self):
        """Returns the arguments of the network that a config has."""
        attention = self._attention()
        if attention is not None and not isinstance(attention, str):
            attention = keras.saving.serialize_keras_object(attention)
        return {**self._config, "attention": attention}

    def get_config(self):
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "input_tensor": None,
            **self.network_config(),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "layers": self._changed_layers(),
        }
        if self._has_front:
            stem = self.get_layer(f"{self._config['prefix']}conv1_conv")
            front = keras.Model(self.input, stem.input, name="front")
            config["input_tensor"] = keras.saving.serialize_keras_object(front)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["dtype"] = keras.dtype_policies.get(config["dtype"])
        if config.get("input_tensor") is not None:
            front = keras.saving.deserialize_keras_object(
                config["input_tensor"], custom_objects=custom_objects
            )
            config["input_tensor"] = front.output
        if isinstance(config.get("attention"), dict):
            config["attention"] = keras.saving.deserialize_keras_object(
                config["attention"], custom_objects=custom_objects
            )
        return cls(**config)

    def _changed_layers(self):
        """Returns by layer what its config has that no argument gives."""
        stages, prefix = self._config["freeze_stages"], self._config["prefix"]
        layers = [self.get_layer(name) for name in self._built_configs]
        before = {
            layer.name: {
                **self._built_configs[layer.name],
                "trainable": self.trainable
                and not is_frozen(layer, stages, prefix),
            }
            for layer in layers
        }
        return changed_configs(before, layer_configs(layers))


def _own_layers(network, input_tensor):
    """The layers of a network but for those in front of it."""
    front = []
    if input_tensor is not None:
        front = keras.Model(network.input, input_tensor).layers
    return [
        layer
        for layer in network.layers
        if layer not in front and not isinstance(layer, keras.layers.InputLayer)
    ]
