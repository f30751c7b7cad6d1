"""The paper's recipe for detectors on COCO (section 4.2), as data."""

import dataclasses
import json
from typing import ClassVar

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe import Recipe
from keras_epsanet.training.recipe_fields import field

# Steps of 16 images in an epoch of COCO's 117,266 images with objects.
_STEPS = 7330
DETECTORS = ("retinanet", "faster_rcnn", "mask_rcnn")
LIBRARIES = ("keras_epsanet", "keras_cv", "keras_hub")
OPTIMIZERS = ("sgd", "adam")
# Of classifiers; recipes of version 0.1.0 held them with these values.
_FORMER = {"label_smoothing": 0.0, "augmentations": None, "antialias": True}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CocoRecipe(Recipe):
    """All that decides which weights the training of a detector ends with.

    The defaults are those of MMDetection's 1× schedule with which section
    4.2 of the paper trained: SGD with a rate of 0.01 for 16 images a step,
    a warm-up over 500 steps, a tenth of the rate after epochs 8 and 11.

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
        clipnorm: As in `Recipe`; 35 is that of RetinaNet.
        freeze_stages: Integer, stages of the backbone that do not train.
        norm_eval: Whether BatchNorms keep their statistics.
        **kwargs: Fields of `Recipe`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> recipe = CocoRecipe(batch_size=8)
    >>> recipe.peak_learning_rate, recipe.decay_epochs
    (0.005, (8, 11))
    >>> CocoRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    images_per_rate: ClassVar[int] = 16

    image_size: int = field(800, kinds.POSITIVE_INTEGER)
    epochs: int = field(12, kinds.POSITIVE_INTEGER)
    batch_size: int = field(16, kinds.POSITIVE_INTEGER)
    learning_rate: float = field(0.01, kinds.POSITIVE)
    decay_epochs: float | tuple = field((8, 11), kinds.EPOCHS)
    warm_up_epochs: float = field(500 / _STEPS, kinds.NOT_NEGATIVE)
    clipnorm: float | None = field(35.0, kinds.optional(kinds.POSITIVE))
    detector: str = field("retinanet", kinds.one_of(*DETECTORS))
    library: str = field("keras_epsanet", kinds.one_of(*LIBRARIES))
    optimizer: str = field("sgd", kinds.one_of(*OPTIMIZERS))
    num_samples: int = field(512, kinds.POSITIVE_INTEGER)
    longer_side: int = field(1333, kinds.POSITIVE_INTEGER)
    freeze_stages: int = field(1, kinds.NATURAL)
    norm_eval: bool = field(True, kinds.SWITCH)

    def __post_init__(self):
        super().__post_init__()
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

    @classmethod
    def from_json(cls, text):
        recipe = super().from_json
        try:
            values = json.loads(text)
        except json.JSONDecodeError:
            return recipe(text)  # Which says what is wrong.
        if isinstance(values, dict):
            values = {
                key: value
                for key, value in values.items()
                if key not in _FORMER or value != _FORMER[key]
            }
        return recipe(json.dumps(values))


# Section 4.2 of the paper.
COCO = CocoRecipe()
