"""What a training depends on, as data; what every kind of training has."""

import argparse
import dataclasses
import json
from typing import ClassVar

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe_fields import field
from keras_epsanet.training.recipe_help import (
    describe_fields,
    format_default,
    format_expected,
)

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("step", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides which weights a training ends with.

    Two trainings with the same recipe on the same data and devices see the
    same images in the same order. `ImageNetRecipe`, `CocoRecipe` and
    `ClassifierRecipe` add the fields and the defaults of their trainings;
    the defaults here are those of section 4.1 of the paper.

    Args:
        model: Name of the network, such as `"epsanet50_small"`.
        image_size: Side of the images in pixels.
        epochs: Integer, passes over the training images.
        batch_size: Integer, images in one update of the weights, on all
            devices and in all accumulated parts together.
        accumulation_steps: Integer, parts in which a batch is computed one
            after the other, for want of memory.
        learning_rate: Float, the rate for `images_per_rate` images a batch;
            it grows in proportion to `batch_size`.
        schedule: `"step"`: times `decay_factor` after every `decay_epochs`;
            `"cosine"`: along half a cosine to 0.
        decay_epochs: Number of epochs, or a tuple of the epochs after each
            of which the rate falls once.
        decay_factor: Float, what the learning rate is multiplied by when it
            falls.
        warm_up_epochs: Number of epochs in which the rate rises linearly.
        momentum: Float, share of the former step that each step keeps.
        nesterov: Whether Nesterov's form of momentum is used.
        l2: Float, the factor of the L2 term, PyTorch's `weight_decay`.
        l2_on_all: Whether biases and BatchNorms have the L2 term too, as in
            the paper's training.
        clipnorm: Float, the most that the norm of the gradients can be, or
            `None`.
        freeze: Whether only what stands on the backbone is trained: the
            classifier, or a detector's pyramid and heads. The BatchNorms of
            the backbone keep their statistics then.
        backbone_rate: Float, factor of the learning rate of the backbone,
            such as 0.1 for one that is trained already.
        ema: Float, share of the average of the weights that each step keeps,
            or `None` for no average. Where there is one, it is what is
            evaluated and saved in the end.
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        sync_bn: Whether BatchNorm takes its statistics over all devices.
        seed: Integer, what the initial weights, the order and the crops are
            drawn with.

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

    # Number of images for which `learning_rate` is given.
    images_per_rate: ClassVar[int] = 256

    model: str = field("epsanet50_small", kinds.NAME)
    image_size: int = field(224, kinds.POSITIVE_INTEGER)
    epochs: int = field(120, kinds.POSITIVE_INTEGER)
    batch_size: int = field(256, kinds.POSITIVE_INTEGER)
    accumulation_steps: int = field(1, kinds.POSITIVE_INTEGER)
    learning_rate: float = field(0.1, kinds.POSITIVE)
    schedule: str = field("step", kinds.one_of(*SCHEDULES))
    decay_epochs: float | tuple = field(30, kinds.EPOCHS)
    decay_factor: float = field(0.1, kinds.POSITIVE)
    warm_up_epochs: float = field(0, kinds.NOT_NEGATIVE)
    momentum: float = field(0.9, kinds.FRACTION)
    nesterov: bool = field(False, kinds.SWITCH)
    l2: float = field(1e-4, kinds.NOT_NEGATIVE)
    l2_on_all: bool = field(True, kinds.SWITCH)
    clipnorm: float | None = field(None, kinds.optional(kinds.POSITIVE))
    freeze: bool = field(False, kinds.SWITCH)
    backbone_rate: float = field(1.0, kinds.POSITIVE)
    ema: float | None = field(None, kinds.optional(kinds.FRACTION))
    precision: str = field("float32", kinds.one_of(*PRECISIONS))
    sync_bn: bool = field(False, kinds.SWITCH)
    seed: int = field(0, kinds.SEED)

    def __post_init__(self):
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            value = kinds.check(f.name, f.metadata["kind"], value)
            object.__setattr__(self, f.name, value)
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`accumulation_steps` must divide batch_size="
                f"{self.batch_size}. "
                f"Received: accumulation_steps={self.accumulation_steps}"
            )
        if self.warm_up_epochs >= self.epochs:
            raise ValueError(
                f"`warm_up_epochs` must be below epochs={self.epochs}. "
                f"Received: warm_up_epochs={self.warm_up_epochs}"
            )
        if self.freeze and self.backbone_rate != 1:
            raise ValueError(
                "A backbone that is frozen has no rate. "
                f"Received: freeze=True, backbone_rate={self.backbone_rate}"
            )
        if self.nesterov and not self.momentum:
            raise ValueError(
                "`nesterov` needs a momentum. "
                f"Received: nesterov=True, momentum={self.momentum}"
            )

    @property
    def peak_learning_rate(self):
        """Float, the highest learning rate, in proportion to the batch."""
        return self.learning_rate * self.batch_size / self.images_per_rate

    @property
    def step_batch_size(self):
        """Integer, images of one step of `fit`."""
        return self.batch_size // self.accumulation_steps

    def schedule_epochs(self, steps_per_epoch):
        """When the learning rate rises and falls.

        Args:
            steps_per_epoch: Integer, steps of `fit` in an epoch.

        Returns:
            Dictionary of `decay_epochs` and `warm_up_epochs`, as
            `EpochSchedule` takes them.
        """
        return {
            "decay_epochs": self.decay_epochs,
            "warm_up_epochs": self.warm_up_epochs,
        }

    def to_json(self):
        """Returns the recipe as text, one option a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """Makes a recipe from the text that `to_json` returned.

        Args:
            text: String.

        Returns:
            A recipe of this class.

        Raises:
            ValueError: If it is not the JSON of such a recipe.
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
            other: Recipe of the same class.

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

    @classmethod
    def add_options(cls, parser, leave_out=(), defaults=None, **choices):
        """Adds an option for every field to the parser of a command line.

        `--batch-size 64` for `batch_size`, `--sync-bn` and `--no-sync-bn`
        for a switch, `none` for `None`. What is not given is not in the
        parsed arguments, whose values are checked as those of the class.

        Args:
            parser: `argparse.ArgumentParser` or a group of it.
            leave_out: Names of the fields that get no option.
            defaults: Dictionary of the recipes whose values the help names,
                as `format_default` takes it; `None` for those of the class.
            **choices: For single fields the values that are allowed here,
                as in `model=["epsanet50_small"]`.

        Example:

        >>> parser = argparse.ArgumentParser()
        >>> Recipe.add_options(parser)
        >>> vars(parser.parse_args(["--decay-epochs", "30,60,90"]))
        {'decay_epochs': (30, 60, 90)}
        """
        defaults = {"": cls()} if defaults is None else defaults
        texts = describe_fields(cls)
        images = {str(x.images_per_rate): None for x in defaults.values()}
        for f in dataclasses.fields(cls):
            if f.name in leave_out:
                continue
            kind = f.metadata["kind"]
            settings = {"default": argparse.SUPPRESS}
            expected = ""
            if kind.read is None:
                settings["action"] = argparse.BooleanOptionalAction
            elif f.name in choices:
                settings["choices"] = choices[f.name]
            else:
                settings["type"] = kinds.reader(f.name, kind)
                settings["metavar"] = f.name.rpartition("_")[2].upper()
                expected = f": {format_expected(kind.expected)}"
            default = format_default(f.name, defaults)
            text = f"{texts[f.name]}{expected} ({default})"
            text = text.replace("images_per_rate", " or ".join(images))
            settings["help"] = text.replace("%", "%%")
            parser.add_argument(f"--{f.name.replace('_', '-')}", **settings)

    def with_options(self, arguments):
        """Returns the recipe with the options that were given.

        Args:
            arguments: What a parser with `add_options` returned.

        Returns:
            A recipe of the same class.

        Raises:
            ValueError: If the options do not fit one another.
        """
        names = {f.name for f in dataclasses.fields(self)}
        given = {k: v for k, v in vars(arguments).items() if k in names}
        return dataclasses.replace(self, **given)
