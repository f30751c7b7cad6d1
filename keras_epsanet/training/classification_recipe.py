"""What the recipes of all classifiers have, as data."""

import dataclasses

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe import Recipe
from keras_epsanet.training.recipe_fields import field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """What decides which weights the training of a classifier ends with.

    `ImageNetRecipe` and `ClassifierRecipe` add what their trainings have.

    Args:
        label_smoothing: Float, share of the truth that all classes have in
            equal parts.
        augmentations: What changes the images, as in
            `keras_epsanet.data.imagenet.training_batches`, or `None`.
        recalibration_steps: Integer, batches of which the trained weights
            take their BatchNorm statistics in the end; 0 leaves them those
            of the training, a moving average.
        teacher: Name or path of a trained ResNet of the network's depth and
            width, or, for `keras-epsanet train`, path of a `model.keras` of
            its own, whose logits are learned too; `None` for no teacher.
        teacher_share: Float, share of the loss that the teacher has; the
            labels have the rest.
        temperature: Float, what the logits of both are divided by before
            they are compared.
        **kwargs: Fields of `Recipe`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    label_smoothing: float = field(0.1, kinds.FRACTION)
    augmentations: tuple | dict | None = field(
        None, kinds.optional(kinds.AUGMENTATIONS)
    )
    recalibration_steps: int = field(0, kinds.NATURAL)
    teacher: str | None = field(None, kinds.optional(kinds.NAME))
    teacher_share: float = field(0.5, kinds.FRACTION)
    temperature: float = field(3.0, kinds.POSITIVE)

    def __post_init__(self):
        super().__post_init__()
        if self.freeze and self.recalibration_steps:
            raise ValueError(
                "The BatchNorms of a frozen backbone keep their statistics. "
                "Received: freeze=True, "
                f"recalibration_steps={self.recalibration_steps}"
            )
