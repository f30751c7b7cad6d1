"""What a training depends on, as data: the paper's recipe and its options."""

import dataclasses
import json
import math
from typing import ClassVar

import keras

from keras_epsanet.training.loss_scale import LossScale
from keras_epsanet.training.schedule import EpochSchedule
from keras_epsanet.training.sgd_l2 import SGDL2

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("step", "cosine")


def _check(recipe, name, expected, test):
    value = getattr(recipe, name)
    if not test(value):
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name}={value}"
        )


def _is_number(value):
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _is_positive(value):
    return _is_number(value) and value > 0


def _is_fraction(value):
    return _is_number(value) and 0 <= value < 1


def _are_rising(value):
    if not isinstance(value, (list, tuple)):
        return _is_positive(value)
    return all(map(_is_positive, value)) and list(value) == sorted(value)


def _is_positive_integer(value):
    return isinstance(value, int) and _is_positive(value)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides which weights a training ends with.

    The defaults are those of section 4.1 of the paper. Two trainings with
    the same recipe on the same data and devices see the same images in the
    same order.

    Args:
        model: Name of the network, such as `"epsanet50_small"`.
        image_size: Side of the images in pixels.
        epochs: Integer, passes over the training images.
        batch_size: Integer, images in one update of the weights, on all
            devices and in all accumulated parts together.
        accumulation_steps: Integer, parts in which a batch is computed one
            after the other, for want of memory.
        learning_rate: Float, the rate for 256 images a batch; it grows in
            proportion to `batch_size`.
        schedule: `"step"`: times `decay_factor` after every `decay_epochs`;
            `"cosine"`: along half a cosine to 0.
        decay_epochs: Number of epochs, or a tuple of the epochs after each
            of which the rate falls once.
        decay_factor: Float.
        warm_up_epochs: Number of epochs in which the rate rises linearly.
        momentum: Float.
        nesterov: Whether Nesterov's form of momentum is used.
        l2: Float, the factor of the L2 term, PyTorch's `weight_decay`.
        l2_on_all: Whether biases and BatchNorms have the L2 term too, as in
            the paper's training.
        clipnorm: Float, the most that the norm of the gradients can be, or
            `None`.
        label_smoothing: Float from 0 to below 1.
        ema: Float, share of the average of the weights that each step keeps,
            or `None` for no average. Where there is one, it is what is
            evaluated and saved in the end.
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        sync_bn: Whether BatchNorm takes its statistics over all devices.
        augmentations: As in `keras_epsanet.data.imagenet.training_batches`:
            list of names or dictionary from names to arguments, or `None`.
        antialias: As in `keras_epsanet.data.imagenet.training_batches`.
        seed: Integer, of the initial weights, the order and the crops.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> recipe = Recipe(batch_size=1024, warm_up_epochs=5)
    >>> recipe.peak_learning_rate
    0.4
    >>> Recipe.from_json(recipe.to_json()) == recipe
    True
    >>> Recipe(ema=0.9999).differences(recipe)
    ['batch_size: 256, not 1024', 'warm_up_epochs: 0, not 5', \
'ema: 0.9999, not None']
    """

    # Of section 4.1: the rate is 0.1 for 256 images.
    images_per_rate: ClassVar[int] = 256

    model: str = "epsanet50_small"
    image_size: int = 224
    epochs: int = 120
    batch_size: int = 256
    accumulation_steps: int = 1
    learning_rate: float = 0.1
    schedule: str = "step"
    decay_epochs: float | tuple = 30
    decay_factor: float = 0.1
    warm_up_epochs: float = 0
    momentum: float = 0.9
    nesterov: bool = False
    l2: float = 1e-4
    l2_on_all: bool = True
    clipnorm: float | None = None
    label_smoothing: float = 0.1
    ema: float | None = None
    precision: str = "float32"
    sync_bn: bool = False
    augmentations: list | dict | None = None
    antialias: bool = True
    seed: int = 0

    def __post_init__(self):
        for name in ("image_size", "epochs", "batch_size"):
            _check(self, name, "a positive integer", _is_positive_integer)
        _check(
            self,
            "accumulation_steps",
            "a positive integer that divides batch_size="
            f"{self.batch_size}",
            lambda n: _is_positive_integer(n) and self.batch_size % n == 0,
        )
        for name in ("learning_rate", "decay_factor"):
            _check(self, name, "a positive number", _is_positive)
        _check(
            self,
            "decay_epochs",
            "a positive number or a tuple of rising ones",
            _are_rising,
        )
        _check(
            self,
            "warm_up_epochs",
            f"a number from 0 to below epochs={self.epochs}",
            lambda x: _is_number(x) and 0 <= x < self.epochs,
        )
        _check(
            self, "l2", "a number from 0", lambda x: x == 0 or _is_positive(x)
        )
        for name in ("momentum", "label_smoothing"):
            _check(self, name, "a number from 0 to below 1", _is_fraction)
        for name, word, test in (
            ("clipnorm", "a positive number", _is_positive),
            ("ema", "a number from 0 to below 1", _is_fraction),
        ):
            _check(
                self,
                name,
                f"{word} or None",
                lambda x, test=test: x is None or test(x),
            )
        for name, allowed in (
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            _check(self, name, f"one of {allowed}", allowed.__contains__)

    @property
    def peak_learning_rate(self):
        """Float, the highest learning rate, in proportion to the batch."""
        return self.learning_rate * self.batch_size / self.images_per_rate

    @property
    def step_batch_size(self):
        """Integer, images of one step of `fit`."""
        return self.batch_size // self.accumulation_steps

    def to_json(self):
        """Returns the recipe as text, one option a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """Makes a recipe from the text that `to_json` returned.

        Args:
            text: String.

        Returns:
            A `Recipe`.

        Raises:
            ValueError: If it is not the JSON of a recipe.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"`text` must be the JSON of a recipe: {error}. "
                f"Received: text={text[:200]}"
            ) from error

    def differences(self, other):
        """Lists the options in which two recipes differ.

        Args:
            other: `Recipe`.

        Returns:
            List of strings, one for each option, such as
            `"epochs: 120, not 90"` where this recipe has 120.
        """
        mine, others = map(dataclasses.asdict, (self, other))
        return [
            f"{name}: {value}, not {others[name]}"
            for name, value in mine.items()
            if value != others[name]
        ]


# Section 4.1 of the paper.
IMAGENET = Recipe()


def make_schedule(recipe, steps_per_epoch):
    """Makes the learning rate of every step of `fit`.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: Integer, steps of `fit` in an epoch; with
            accumulation several of them are one update.

    Returns:
        An `EpochSchedule`.

    Example:

    >>> schedule = make_schedule(IMAGENET, steps_per_epoch=5004)
    >>> [round(float(schedule(30 * 5004 + i)), 6) for i in (-1, 0)]
    [0.1, 0.01]
    """
    return EpochSchedule(
        recipe.peak_learning_rate,
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        kind=recipe.schedule,
        decay_epochs=recipe.decay_epochs,
        decay_factor=recipe.decay_factor,
        warm_up_epochs=recipe.warm_up_epochs,
    )


def make_optimizer(recipe, steps_per_epoch):
    """Makes the optimizer of a recipe.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: As in `make_schedule`.

    Returns:
        `SGDL2`, in a `LossScale` for `mixed_float16`.

    Example:

    >>> make_optimizer(IMAGENET, steps_per_epoch=5004).l2
    0.0001
    """
    accumulated = recipe.accumulation_steps
    optimizer = SGDL2(
        make_schedule(recipe, steps_per_epoch),
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        l2=recipe.l2,
        global_clipnorm=recipe.clipnorm,
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
        use_ema=recipe.ema is not None,
        ema_momentum=0.99 if recipe.ema is None else recipe.ema,
    )
    if not recipe.l2_on_all:
        optimizer.exclude_from_l2(var_names=["bias", "gamma", "beta"])
    if recipe.precision == "mixed_float16":
        return LossScale(optimizer)
    return optimizer


def make_loss(recipe):
    """Makes the loss of a recipe, for a network that returns logits.

    Args:
        recipe: `Recipe`.

    Returns:
        `keras.losses.CategoricalCrossentropy` of logits and one-hot labels,
        both `(N, classes)`.

    Example:

    >>> loss = make_loss(IMAGENET)
    >>> print(round(float(loss([[1.0, 0.0]], [[1.0, 0.0]])), 4))
    0.3633
    """
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=recipe.label_smoothing
    )
