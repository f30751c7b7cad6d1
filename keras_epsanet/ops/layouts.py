"""In which layout the convolutions of a pyramid are computed."""

from typing import NamedTuple

import keras
from keras import ops

from keras_epsanet.ops import forms

LAYOUTS = ("channels_last", "channels_first")


class Pyramid(NamedTuple):
    """What a layout is chosen for: an `SPC` and what it is called with.

    Attributes:
        input_shape: Tuple, shape of an image, in the order of `data_format`.
        filters, kernel_sizes, groups, strides, split_input, data_format: As
            in `SPC`; the strides are a pair.
        dtype: String, type that it is computed in.
    """

    input_shape: tuple
    filters: int
    kernel_sizes: tuple
    groups: tuple
    strides: tuple
    split_input: bool
    data_format: str
    dtype: str


def check(layout):
    """Returns a layout, or raises a `ValueError` if there is none such."""
    if layout is None or layout in ("auto", *LAYOUTS):
        return layout
    raise ValueError(
        '`layout` must be None, "auto", "channels_last" or "channels_first". '
        f"Received: layout={layout!r}"
    )


def find(spc, input_shape):
    """Returns the layout that `forms.choose` was told, otherwise `None`.

    Nothing is in the table before: no GPU was measured.

    Args:
        spc: `SPC` that is called.
        input_shape: Shape of its inputs; what is unknown is `None`.
    """
    problem = Pyramid(
        tuple(input_shape)[1:],
        spc.filters,
        spc.kernel_sizes,
        spc.groups,
        tuple(spc.convolutions[0].strides),
        spc.split_input,
        spc.data_format,
        spc.compute_dtype,
    )
    return forms.look_up(problem, None)


def rearrange(images, source, target):
    """Returns images of one layout in another.

    Args:
        images: Tensor of four dimensions.
        source, target: Layouts.
    """
    if source != target:
        to_last = target == "channels_last"
        images = ops.transpose(
            images, (0, 2, 3, 1) if to_last else (0, 3, 1, 2)
        )
    if keras.backend.backend() == "torch":
        # A transposition is a view, of which each convolution would make a
        # copy, or which it would compute in the layout in memory.
        images = images.contiguous()
    return images
