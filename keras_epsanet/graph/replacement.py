"""Report on convolutions that another layer takes the place of."""

import dataclasses
from typing import NamedTuple

NAMES_SHOWN = 3


class Replaced(NamedTuple):
    """A convolution that another layer takes the place of.

    Attributes:
        name: String, name of both, behind those of the models it is in.
        old: String, what the convolution is.
        new: String, class of the other layer.
    """

    name: str
    old: str
    new: str


class Left(NamedTuple):
    """A convolution that stays.

    Attributes:
        name: String, its name, behind those of the models it is in.
        reason: String, why.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Replacement:
    """What `replace_convolutions` does; as a string, a summary.

    Attributes:
        replaced: Tuple of `Replaced`.
        left: Tuple of `Left`: all other convolutions of images.
        parameters: Pair of integers, the trainable parameters before and
            after.
        macs: Pair of integers, multiply-adds for one image before and after
            (`keras_epsanet.complexity`), or `None` if the model leaves sizes
            open.
    """

    replaced: tuple
    left: tuple
    parameters: tuple
    macs: tuple = None

    def __str__(self):
        total = len(self.replaced) + len(self.left)
        lines = [f"replaced {len(self.replaced)} of {total} convolutions"]
        width = max((len(layer.name) for layer in self.replaced), default=0)
        lines += [
            f"  {layer.name:{width}}  {layer.old} → {layer.new}"
            for layer in self.replaced
        ]
        if self.left:
            lines.append(f"left {len(self.left)}")
            lines += [f"  {line}" for line in by_reason(self.left)]
        before, after = self.parameters
        lines.append(f"trainable parameters {before:,} → {after:,}")
        if self.macs is None:
            lines.append("multiply-adds not counted: sizes are left open")
        else:
            lines.append("multiply-adds {:,} → {:,}".format(*self.macs))
        return "\n".join(lines)


def by_reason(left):
    """Returns a list of lines, one for each reason, with some names.

    Args:
        left: Iterable of `Left`.

    Example:

    >>> by_reason([Left("a", "too small"), Left("b", "too small")])
    ['2: too small (a, b)']
    """
    names = {}
    for layer in left:
        names.setdefault(layer.reason, []).append(layer.name)
    lines = []
    for reason, group in names.items():
        shown = ", ".join(group[:NAMES_SHOWN])
        more = ", …" if len(group) > NAMES_SHOWN else ""
        lines.append(f"{len(group)}: {reason} ({shown}{more})")
    return lines
