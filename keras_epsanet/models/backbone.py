"""EPSANet as the backbone of a detector or a segmentation network."""

import inspect

import keras

from keras_epsanet.models.arguments import refuse_unknown
from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.layer_states import (
    changed_configs,
    layer_configs,
    rebuild,
)
from keras_epsanet.models.variants import MODEL_CONFIGS


@keras.saving.register_keras_serializable(package="keras_epsanet")
class EPSANetBackbone(keras.Model):
    """EPSANet without its classifier, with the feature map of every stage.

    KerasCV finds the feature maps in `pyramid_level_inputs`, KerasHub in
    `pyramid_outputs`.

    Args:
        stackwise_num_blocks, stackwise_num_filters: As in `EPSANet`.
        kernel_sizes, groups, reduction, split_input: As there.
        synchronized, expansion: As there.
        norm_eval: Whether BatchNorm uses its moving statistics in training
            too, as detectors do; scale and shift still train.
        freeze_stages: Integer, number of stages that do not train: 0 none,
            1 the stem and the first stage, 2 the second too, and so on.
            Their BatchNorms are fixed altogether. They train again when
            `trainable` of every layer is set; that of the backbone is true
            already, and setting it again does nothing on TensorFlow.
        weights: As in `EPSANet50Small`; a classifier in the file is
            ignored.
        image_shape: Shape of one image, such as `(512, 512, 3)`; height and
            width may be `None`. `None` means `(None, None, 3)`.
        input_tensor: Optional Keras tensor to use as the image input. The
            layers that it comes from become layers of the backbone.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        dtype: Dtype policy of the model and of every layer; `None` means
            the global one.
        prefix: As in `EPSANet`; the names in `pyramid_level_inputs` have it
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

    >>> backbone = EPSANetBackbone.from_variant("epsanet50_small")
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
                f'paper is EPSANetBackbone.from_variant("{variant}"). '
                f"Received: stackwise_num_blocks={variant}"
            )
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        stackwise_num_blocks,
        stackwise_num_filters,
        kernel_sizes,
        groups,
        reduction=16,
        split_input=False,
        synchronized=False,
        *,
        expansion=4,
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
        known = inspect.signature(EPSANetBackbone.__init__).parameters
        refuse_unknown("EPSANetBackbone", kwargs, known)
        _check_freeze_stages(freeze_stages, len(stackwise_num_blocks))
        network = EPSANet(
            stackwise_num_blocks,
            stackwise_num_filters,
            kernel_sizes,
            groups,
            reduction=reduction,
            split_input=split_input,
            synchronized=synchronized,
            expansion=expansion,
            norm_eval=norm_eval,
            include_top=False,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=image_shape,
            data_format=data_format,
            dtype=dtype,
            prefix=prefix,
        )
        _freeze(network, freeze_stages if trainable else None, prefix)
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
            "stackwise_num_blocks": tuple(stackwise_num_blocks),
            "stackwise_num_filters": tuple(stackwise_num_filters),
            "kernel_sizes": tuple(kernel_sizes),
            "groups": groups if groups is None else tuple(groups),
            "reduction": reduction,
            "split_input": split_input,
            "synchronized": synchronized,
            "expansion": expansion,
            "norm_eval": norm_eval,
            "freeze_stages": freeze_stages,
            "image_shape": tuple(stem.input.shape[1:]),
            "data_format": stem.data_format,
            "prefix": prefix,
        }

    @property
    def data_format(self):
        return self._config["data_format"]

    # Properties, for Keras wraps dictionaries that are attributes, and JAX
    # refuses a model with such outputs.
    @property
    def pyramid_level_inputs(self):
        prefix = self._config["prefix"]
        return {
            f"P{stage}": f"{prefix}conv{stage}_block{blocks}_out"
            for stage, blocks in enumerate(
                self._config["stackwise_num_blocks"], start=2
            )
        }

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
        weights=None,
        image_shape=(None, None, 3),
        freeze_stages=0,
        norm_eval=False,
        **kwargs,
    ):
        """Builds the backbone of one of the four networks of the paper.

        Args:
            variant: `"epsanet50_small"`, `"epsanet50_large"`,
                `"epsanet101_small"` or `"epsanet101_large"`.
            weights, image_shape, freeze_stages, norm_eval: As in the class.
            **kwargs: Other arguments of the class.

        Returns:
            An `EPSANetBackbone`.

        Raises:
            ValueError: If there is no such variant, or as in the class.
        """
        if variant not in MODEL_CONFIGS:
            raise ValueError(
                f"`variant` must be one of {', '.join(MODEL_CONFIGS)}. "
                f"Received: variant={variant}"
            )
        if image_shape == (None, None, 3):
            image_shape = None  # In either data format.
        return cls(
            weights=weights,
            image_shape=image_shape,
            freeze_stages=freeze_stages,
            norm_eval=norm_eval,
            **{"name": variant, **MODEL_CONFIGS[variant], **kwargs},
        )

    def get_config(self):
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "input_tensor": None,
            **self._config,
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
        return cls(**config)

    def _changed_layers(self):
        """Returns by layer what its config has that no argument gives."""
        stages, prefix = self._config["freeze_stages"], self._config["prefix"]
        layers = [self.get_layer(name) for name in self._built_configs]
        before = {
            layer.name: {
                **self._built_configs[layer.name],
                "trainable": self.trainable
                and not _is_frozen(layer, stages, prefix),
            }
            for layer in layers
        }
        return changed_configs(before, layer_configs(layers))


def _check_freeze_stages(freeze_stages, stages):
    if not isinstance(freeze_stages, int) or not 0 <= freeze_stages <= stages:
        raise ValueError(
            f"`freeze_stages` must be an integer from 0 to {stages}. "
            f"Received: freeze_stages={freeze_stages}"
        )


def _freeze(network, stages, prefix):
    """Freezes the stem and the first stages, or all layers."""
    for layer in network.layers:
        if stages is None or _is_frozen(layer, stages, prefix):
            layer.trainable = False


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


def _is_frozen(layer, stages, prefix):
    """Whether `freeze_stages` fixes a layer."""
    frozen = range(1, stages + 2) if stages else ()
    return layer.name.startswith(tuple(f"{prefix}conv{i}_" for i in frozen))
