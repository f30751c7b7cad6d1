"""The recipe for a classifier of one's own images, as data."""

import dataclasses
from typing import ClassVar

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.classification_recipe import ClassificationRecipe
from keras_epsanet.training.recipe_fields import field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(ClassificationRecipe):
    """All that decides which weights a classifier of few images ends with.

    The defaults learn Fashion-MNIST's images from scratch in minutes on a
    CPU: SGD with Nesterov's momentum, a rate of 0.1 for 64 images a batch
    that rises for a fifth of an epoch and falls along half a cosine.

    Args:
        flip: Whether half of the images are mirrored.
        val_share: Float, share of the images that is held out where the
            data have no part for that.
        patience: Integer, epochs without a better one after which the
            training ends, or `None` for all epochs.
        **kwargs: Fields of `ClassificationRecipe`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> ClassifierRecipe(batch_size=128).peak_learning_rate
    0.2
    """

    images_per_rate: ClassVar[int] = 64

    image_size: int = field(48, kinds.POSITIVE_INTEGER)
    epochs: int = field(2, kinds.POSITIVE_INTEGER)
    batch_size: int = field(64, kinds.POSITIVE_INTEGER)
    schedule: str = field("cosine", kinds.one_of("step", "cosine"))
    warm_up_epochs: float = field(0.2, kinds.NOT_NEGATIVE)
    nesterov: bool = field(True, kinds.SWITCH)
    l2: float = field(0.0, kinds.NOT_NEGATIVE)
    flip: bool = field(False, kinds.SWITCH)
    val_share: float = field(0.2, kinds.FRACTION)
    patience: int | None = field(None, kinds.optional(kinds.POSITIVE_INTEGER))
