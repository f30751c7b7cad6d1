"""The paper's recipe for detectors on COCO (section 4.2), as data."""

import dataclasses
import json
from typing import ClassVar

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe import Recipe
from keras_epsanet.training.recipe_fields import field

DETECTORS = ("retinanet", "faster_rcnn", "mask_rcnn")
LIBRARIES = ("keras_epsanet", "keras_cv", "keras_hub")
OPTIMIZERS = ("sgd", "adam")
# Of a 1× schedule's 12 epochs, and of a 2× schedule's 24: 8 and 11, 16 and 22.
_DECAYS = (8 / 12, 11 / 12)
# Of classifiers; recipes of version 0.1.0 held them with these values.
_FORMER = {"label_smoothing": 0.0, "augmentations": None, "antialias": True}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CocoRecipe(Recipe):
    """All that decides which weights the training of a detector ends with.

    The defaults are those of MMDetection's 1× schedule with which section
    4.2 of the paper trained: SGD with a rate of 0.01 for 16 images a step,
    a warm-up over 500 updates, a tenth of the rate after epochs 8 and 11.

    No gradients are clipped, as in the configurations of MMDetection 2.0
    that belong to the published `retinanet_r50_fpn_1x_coco`,
    `faster_rcnn_r50_fpn_1x_coco` and `mask_rcnn_r50_fpn_1x_coco`. Those of
    MMDetection 1 had `clipnorm=35.0`. MMDetection's own R-CNNs have twice
    the rate, `learning_rate=0.02`; the paper's have that of RetinaNet.

    Args:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        library: `"keras_epsanet"`, or whose RetinaNet is trained instead:
            `"keras_cv"` or `"keras_hub"`.
        optimizer: `"sgd"`, or `"adam"` for short trainings on few images,
            which leaves momentum and L2 term aside.
        image_size: Integer, shorter side of the images in pixels.
        decay_epochs: As in `Recipe`; `None` for two falls, after 8/12 and
            11/12 of the epochs.
        warm_up_steps: Integer, updates of the weights in which the rate
            rises linearly, or `None` for `warm_up_epochs`.
        num_samples: Integer, proposals of an image from which the heads of
            Faster and Mask R-CNN learn.
        sampling_ratio: Integer, samples of ROIAlign along each side of a bin
            of Faster and Mask R-CNN; 0 for as many as there are pixels,
            MMDetection's number.
        longer_side: Integer, what the longer side must not exceed, in pixels.
        freeze_stages: Integer, stages of the backbone that do not train.
        norm_eval: Whether BatchNorms keep their statistics.
        head_initializer: Name of the initializer of the kernels in the heads
            of this package's RetinaNet, such as `"he_normal"` for trainings
            of a few thousand steps. `None` for MMDetection's, a normal
            distribution with a standard deviation of 0.01.
        least_image_size: Integer, from which to `image_size` the shorter
            side is drawn, or `None` for always the latter.
        crop: Whether images are cut, as in
            `keras_epsanet.data.coco.Augmentation`.
        photometric: Whether the colors of images change, as there.
        val_share: Float, share of the images that is held out where the
            data have no part for that.
        evaluate_every: Integer, epochs from one evaluation to the next; the
            last is evaluated too.
        patience: Integer from `evaluate_every`, epochs without a better one
            after which the training ends, or `None` for all epochs.
        **kwargs: Fields of `Recipe`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> recipe = CocoRecipe(batch_size=8, epochs=24)
    >>> recipe.peak_learning_rate
    0.005
    >>> recipe.schedule_epochs(steps_per_epoch=5000)
    {'decay_epochs': (16.0, 22.0), 'warm_up_epochs': 0.1}
    >>> CocoRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    images_per_rate: ClassVar[int] = 16

    image_size: int = field(800, kinds.POSITIVE_INTEGER)
    epochs: int = field(12, kinds.POSITIVE_INTEGER)
    batch_size: int = field(16, kinds.POSITIVE_INTEGER)
    learning_rate: float = field(0.01, kinds.POSITIVE)
    decay_epochs: float | tuple | None = field(
        None, kinds.optional(kinds.EPOCHS)
    )
    warm_up_steps: int | None = field(500, kinds.optional(kinds.NATURAL))
    detector: str = field("retinanet", kinds.one_of(*DETECTORS))
    library: str = field("keras_epsanet", kinds.one_of(*LIBRARIES))
    optimizer: str = field("sgd", kinds.one_of(*OPTIMIZERS))
    num_samples: int = field(512, kinds.POSITIVE_INTEGER)
    sampling_ratio: int = field(2, kinds.NATURAL)
    longer_side: int = field(1333, kinds.POSITIVE_INTEGER)
    freeze_stages: int = field(1, kinds.NATURAL)
    norm_eval: bool = field(True, kinds.SWITCH)
    head_initializer: str | None = field(None, kinds.optional(kinds.NAME))
    least_image_size: int | None = field(
        None, kinds.optional(kinds.POSITIVE_INTEGER)
    )
    crop: bool = field(False, kinds.SWITCH)
    photometric: bool = field(False, kinds.SWITCH)
    val_share: float = field(0.2, kinds.FRACTION)
    evaluate_every: int = field(1, kinds.POSITIVE_INTEGER)
    patience: int | None = field(None, kinds.optional(kinds.POSITIVE_INTEGER))

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
        if (self.least_image_size or 0) > self.image_size:
            raise ValueError(
                "`least_image_size` must not be more than image_size="
                f"{self.image_size}. "
                f"Received: least_image_size={self.least_image_size}"
            )
        if self.patience is not None and self.patience < self.evaluate_every:
            raise ValueError(
                "`patience` must not end before the next evaluation, by "
                f"evaluate_every={self.evaluate_every}. "
                f"Received: patience={self.patience}"
            )
        if self.warm_up_steps is not None and self.warm_up_epochs:
            raise ValueError(
                "A warm-up of `warm_up_epochs` needs warm_up_steps=None. "
                f"Received: warm_up_epochs={self.warm_up_epochs}, "
                f"warm_up_steps={self.warm_up_steps}"
            )
        is_our_retinanet = own and self.detector == "retinanet"
        if self.head_initializer and not is_our_retinanet:
            raise ValueError(
                "`head_initializer` is one of this package's RetinaNet. "
                f"Received: head_initializer={self.head_initializer}, "
                f"detector={self.detector}, library={self.library}"
            )

    def schedule_epochs(self, steps_per_epoch):
        epochs = super().schedule_epochs(steps_per_epoch)
        if self.decay_epochs is None:
            epochs["decay_epochs"] = tuple(self.epochs * x for x in _DECAYS)
        if self.warm_up_steps is not None:
            steps = self.warm_up_steps * self.accumulation_steps
            if steps >= self.epochs * steps_per_epoch:
                updates = self.epochs * steps_per_epoch
                updates //= self.accumulation_steps
                raise ValueError(
                    "`warm_up_steps` must be below the number of updates in "
                    f"the training, {updates}. "
                    f"Received: warm_up_steps={self.warm_up_steps}"
                )
            epochs["warm_up_epochs"] = steps / steps_per_epoch
        return epochs

    def with_options(self, arguments):
        """Returns the recipe with the options that were given.

        A warm-up that is given takes the place of the other kind.

        Args:
            arguments: What a parser with `add_options` returned.

        Returns:
            A recipe of the same class.

        Raises:
            ValueError: If the options do not fit one another.
        """
        recipe = self
        if hasattr(arguments, "warm_up_epochs"):
            recipe = dataclasses.replace(recipe, warm_up_steps=None)
        elif getattr(arguments, "warm_up_steps", None) is not None:
            recipe = dataclasses.replace(recipe, warm_up_epochs=0)
        return super(CocoRecipe, recipe).with_options(arguments)

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
            if values.get("warm_up_epochs") is not None:
                # Recipes had no other warm-up before they had both.
                values.setdefault("warm_up_steps", None)
        return recipe(json.dumps(values))


# Section 4.2 of the paper.
COCO = CocoRecipe()
