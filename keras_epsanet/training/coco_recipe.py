"""The paper's recipe for detectors on COCO, as data."""

import dataclasses
from typing import ClassVar

from keras_epsanet.training.recipe import Recipe

# Steps of 16 images in an epoch of COCO's 117,266 images with objects.
_STEPS = 7330
DETECTORS = ("retinanet", "faster_rcnn", "mask_rcnn")
LIBRARIES = ("keras_epsanet", "keras_cv", "keras_hub")
OPTIMIZERS = ("sgd", "adam")
# Of classifiers only.
UNUSED = ("label_smoothing", "augmentations", "antialias")


@dataclasses.dataclass(frozen=True)
class CocoRecipe(Recipe):
    """All that decides which weights the training of a detector ends with.

    The defaults are those of MMDetection's 1× schedule with which section
    4.2 of the paper trained: SGD with a rate of 0.01 for 16 images a step,
    a warm-up over 500 steps, a tenth of the rate after epochs 8 and 11.
    Options of `Recipe` that are not named here mean the same, but for
    `label_smoothing`, `augmentations` and `antialias`, which have no use.

    Args:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        library: `"keras_epsanet"`, or whose RetinaNet is trained instead:
            `"keras_cv"` or `"keras_hub"`.
        optimizer: `"sgd"`, or `"adam"` for short trainings on few images,
            which leaves momentum and L2 term aside.
        image_size: Shorter side of the images in pixels.
        num_samples: Integer, proposals of an image from which the heads of
            Faster and Mask R-CNN learn.
        longer_side: What the longer side must not exceed, in pixels.
        learning_rate: Float, the rate for 16 images a batch; it grows in
            proportion to `batch_size`.
        clipnorm: As in `Recipe`; 35 is that of RetinaNet.
        freeze_stages: Integer, stages of the backbone that do not train.
        norm_eval: Whether BatchNorms keep their statistics.

    Example:

    >>> recipe = CocoRecipe(batch_size=8)
    >>> recipe.peak_learning_rate, recipe.decay_epochs
    (0.005, (8, 11))
    >>> CocoRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    images_per_rate: ClassVar[int] = 16

    image_size: int = 800
    epochs: int = 12
    batch_size: int = 16
    learning_rate: float = 0.01
    decay_epochs: float | tuple = (8, 11)
    warm_up_epochs: float = 500 / _STEPS
    clipnorm: float | None = 35.0
    label_smoothing: float = 0.0
    detector: str = "retinanet"
    library: str = "keras_epsanet"
    optimizer: str = "sgd"
    num_samples: int = 512
    longer_side: int = 1333
    freeze_stages: int = 1
    norm_eval: bool = True

    def __post_init__(self):
        if isinstance(self.decay_epochs, list):
            # JSON has no tuples.
            object.__setattr__(self, "decay_epochs", tuple(self.decay_epochs))
        super().__post_init__()
        for name, allowed in (
            ("detector", DETECTORS),
            ("library", LIBRARIES),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={getattr(self, name)}"
                )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in UNUSED and value != field.default:
                raise ValueError(
                    f"`{field.name}` has no use for detectors. "
                    f"Received: {field.name}={value}"
                )
        own = self.library == "keras_epsanet"
        if not own and self.detector != "retinanet":
            raise ValueError(
                f"{self.library} has no other detector than RetinaNet. "
                f"Received: detector={self.detector}"
            )
        if self.longer_side < self.image_size:
            raise ValueError(
                "`longer_side` must not be less than image_size="
                f"{self.image_size}. Received: longer_side={self.longer_side}"
            )


# Section 4.2 of the paper.
COCO = CocoRecipe()
