"""The paper's recipe for ImageNet (section 4.1), as data."""

import dataclasses

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.classification_recipe import ClassificationRecipe
from keras_epsanet.training.recipe_fields import field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageNetRecipe(ClassificationRecipe):
    """All that decides which weights a training on ImageNet ends with.

    The defaults are those of section 4.1 of the paper: SGD with a rate of
    0.1 for 256 images a batch, a tenth of it after every 30 of 120 epochs.

    Args:
        antialias: Whether images are made smaller with antialiasing, as in
            `keras_epsanet.data.imagenet.training_batches`.
        **kwargs: Fields of `ClassificationRecipe`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> ImageNetRecipe(batch_size=1024).peak_learning_rate
    0.4
    """

    antialias: bool = field(True, kinds.SWITCH)


# Section 4.1 of the paper.
IMAGENET = ImageNetRecipe()
