"""EPSANet as the backbone of a detector or a segmentation network."""

import inspect

import keras

from keras_epsanet.integers import python_integers
from keras_epsanet.models.arguments import (
    any_size,
    check_variant,
    refuse_unknown,
)
from keras_epsanet.models.epsanet import pyramid_attention
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.models.variants import MODEL_CONFIGS

# What a `ResNetBackbone` has and an EPSANet has not.
_OF_RESNET = ("stem_filters", "stem_pool", "downsampling", "classes")


@keras.saving.register_keras_serializable(package="keras_epsanet")
class EPSANetBackbone(ResNetBackbone):
    """EPSANet without its classifier, with the feature map of every stage.

    KerasCV finds the feature maps in `pyramid_level_inputs`, KerasHub in
    `pyramid_outputs`.

    Args:
        stackwise_num_blocks, stackwise_num_filters: As in `EPSANet`.
        kernel_sizes, groups, reduction, split_input: As there.
        synchronized, layout, expansion: As there.
        norm_eval, freeze_stages, weights, image_shape, input_tensor: As in
            `ResNetBackbone`.
        data_format, dtype, prefix, name, trainable, **kwargs: As there.

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
        layout=None,
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
        unknown = {k: v for k, v in kwargs.items() if k != "layers"}
        known = inspect.signature(EPSANetBackbone.__init__).parameters
        refuse_unknown("EPSANetBackbone", unknown, known)
        super().__init__(
            stackwise_num_blocks,
            stackwise_num_filters,
            pyramid_attention(
                kernel_sizes, groups, reduction, split_input, layout
            ),
            synchronized,
            expansion=expansion,
            norm_eval=norm_eval,
            freeze_stages=freeze_stages,
            weights=weights,
            image_shape=image_shape,
            input_tensor=input_tensor,
            data_format=data_format,
            dtype=dtype,
            prefix=prefix,
            name=name,
            trainable=trainable,
            **kwargs,
        )
        self._pyramid = {
            "kernel_sizes": python_integers(tuple(kernel_sizes)),
            "groups": python_integers(
                groups if groups is None else tuple(groups)
            ),
            "reduction": python_integers(reduction),
            "split_input": split_input,
        }
        if layout is not None:
            self._pyramid["layout"] = layout

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
        check_variant(variant, MODEL_CONFIGS)
        return cls(
            weights=weights,
            image_shape=any_size(image_shape),
            freeze_stages=freeze_stages,
            norm_eval=norm_eval,
            **{"name": variant, **MODEL_CONFIGS[variant], **kwargs},
        )

    def network_config(self):
        config = {**super().network_config(), **self._pyramid}
        for name in ("attention", *_OF_RESNET):
            del config[name]
        return config
