"""What detectors with anchors share: anchors that are arguments."""

from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.settings import Setting, positive_numbers


class Fixed(Setting):
    """Attribute that a detector has from its making on, as its layers have.

    Args:
        check: As in `Setting`.
    """

    def __set__(self, model, value):
        if hasattr(model, f"_{self._name}"):
            raise ValueError(
                f"`{self._name}` is fixed when a detector is made, whose "
                "layers have learned its anchors. Make another detector with "
                f"the argument. Received: {self._name}={value}"
            )
        super().__set__(model, value)


class AnchoredDetector(Detector):
    """Detector whose boxes begin as anchors.

    Args:
        *args: As in `Detector`.
        anchors: What `make_anchors` returned.
        **kwargs: As in `Detector`.

    Attributes:
        anchor_scales, anchor_ratios: Tuples of floats, as in
            `AnchorGenerator`.
    """

    anchor_scales = Fixed(positive_numbers)
    anchor_ratios = Fixed(positive_numbers)

    def __init__(self, *args, anchors, **kwargs):
        super().__init__(*args, **kwargs)
        self.anchor_generator = anchors
        self.anchor_scales = anchors.scales
        self.anchor_ratios = anchors.ratios

    def get_config(self):
        return {
            **super().get_config(),
            "anchor_scales": self.anchor_scales,
            "anchor_ratios": self.anchor_ratios,
        }


def make_anchors(strides, scales, ratios):
    """Makes an `AnchorGenerator` of the arguments of a detector.

    Args:
        strides, scales, ratios: As in `AnchorGenerator`.

    Raises:
        ValueError: If scales or ratios are no numbers above 0.

    Example:

    >>> make_anchors((4, 8), [8], [0.5, 1]).num_anchors
    2
    """
    return AnchorGenerator(
        strides,
        positive_numbers("anchor_scales", scales),
        positive_numbers("anchor_ratios", ratios),
    )
