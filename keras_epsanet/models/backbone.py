"""EPSANet as the backbone of a detector or a segmentation network."""

import keras

from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.variants import MODEL_CONFIGS


@keras.saving.register_keras_serializable(package="keras_epsanet")
class EPSANetBackbone(keras.Model):
    """EPSANet without its classifier, with the feature map of every stage.

    KerasCV finds the feature maps in `pyramid_level_inputs`, KerasHub in
    `pyramid_outputs`.

    Args:
        stackwise_num_blocks, stackwise_num_filters, kernel_sizes, groups,
            reduction, split_input, synchronized, expansion: As in
            `EPSANet`.
        norm_eval: Whether BatchNorm uses its moving statistics in training
            too, as detectors do; scale and shift still train.
        freeze_stages: Integer, number of stages that do not train: 0 none,
            1 the stem and the first stage, 2 the second too, and so on.
            Their BatchNorms are fixed altogether.
        weights: As in `EPSANet50Small`; a classifier in the file is
            ignored.
        image_shape: Shape of one image, such as `(512, 512, 3)`; height and
            width may be `None`. `None` means `(None, None, 3)`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        dtype: Dtype policy of every layer; `None` means the global one.
        **kwargs: `name` and `trainable`, as in `keras.Model`.

    Attributes:
        pyramid_outputs: Dictionary from `"P2"` … `"P5"` to the Keras tensor
            of that level; level n is `2 ** n` times smaller than the image.
        pyramid_level_inputs: Dictionary from `"P2"` … `"P5"` to the name of
            the layer whose output it is.

    Raises:
        ValueError: If an argument is out of range, or the file of `weights`
            is not one of this network.

    Example:

    >>> backbone = EPSANetBackbone.from_variant("epsanet50_small")
    >>> features = keras.Model(backbone.input, backbone.pyramid_outputs)
    >>> levels = features(keras.ops.ones((1, 64, 96, 3)))
    >>> levels["P3"].shape == (1, 8, 12, 512)
    True
    """

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
        data_format=None,
        dtype=None,
        **kwargs,
    ):
        stages = len(stackwise_num_blocks)
        if not isinstance(freeze_stages, int) or not (
            0 <= freeze_stages <= stages
        ):
            raise ValueError(
                f"`freeze_stages` must be an integer from 0 to {stages}. "
                f"Received: freeze_stages={freeze_stages}"
            )
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
            input_shape=image_shape,
            data_format=data_format,
            dtype=dtype,
        )
        super().__init__(network.input, network.output, **kwargs)
        if freeze_stages:
            frozen = tuple(f"conv{i + 1}_" for i in range(freeze_stages + 1))
            for layer in self.layers:
                if layer.name.startswith(frozen):
                    layer.trainable = False
        stem = self.get_layer("conv1_conv")
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
            "image_shape": self.input_shape[1:],
            "data_format": stem.data_format,
            "dtype": keras.dtype_policies.serialize(stem.dtype_policy),
        }

    # Properties, for Keras wraps dictionaries that are attributes, and JAX
    # refuses a model with such outputs.
    @property
    def pyramid_level_inputs(self):
        return {
            f"P{stage}": f"conv{stage}_block{blocks}_out"
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
        return {
            "name": self.name,
            "trainable": self.trainable,
            **self._config,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["dtype"] = keras.dtype_policies.deserialize(config["dtype"])
        return cls(**config)
