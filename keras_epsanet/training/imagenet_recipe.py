"""The paper's recipe for ImageNet (section 4.1), as data."""

import dataclasses

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe import Recipe
from keras_epsanet.training.recipe_fields import field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageNetRecipe(Recipe):
    """All that decides which weights a training on ImageNet ends with.

    The defaults are those of section 4.1 of the paper: SGD with a rate of
    0.1 for 256 images a batch, a tenth of it after every 30 of 120 epochs.

    Args:
        label_smoothing: Float from 0 to below 1.
        augmentations: As in `keras_epsanet.data.imagenet.training_batches`:
            names or a dictionary from names to arguments, or `None`.
        antialias: As in `keras_epsanet.data.imagenet.training_batches`.
        **kwargs: Fields of `Recipe`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> ImageNetRecipe(batch_size=1024).peak_learning_rate
    0.4
    """

    label_smoothing: float = field(0.1, kinds.FRACTION)
    augmentations: tuple | dict | None = field(
        None, kinds.optional(kinds.AUGMENTATIONS)
    )
    antialias: bool = field(True, kinds.SWITCH)


# Section 4.1 of the paper.
IMAGENET = ImageNetRecipe()
