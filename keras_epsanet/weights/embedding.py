"""The kernel of a convolution within the kernels of a pyramid's branches."""

from typing import NamedTuple

import numpy as np

from keras_epsanet.layers import PSA


class Pyramid(NamedTuple):
    """What the kernels of an `SPC` can hold.

    Attributes:
        channels: Integer, input channels.
        filters: Integer, output channels.
        kernel_sizes: Integers, kernel size of every branch, in pixels.
        groups: Integers, groups of every branch.
        split_input: Whether branch i sees the i-th part of the input.
    """

    channels: int
    filters: int
    kernel_sizes: tuple
    groups: tuple
    split_input: bool = False

    def windows(self):
        """Yields the branch, inputs and outputs of every group, as slices."""
        scales = len(self.groups)
        width = self.filters // scales
        seen = self.channels // scales if self.split_input else self.channels
        for branch, groups in enumerate(self.groups):
            first = branch * seen if self.split_input else 0
            for group in range(groups):
                start = first + group * (seen // groups)
                out = branch * width + group * (width // groups)
                yield (
                    branch,
                    slice(start, start + seen // groups),
                    slice(out, out + width // groups),
                )

    def connections(self):
        """Returns which input each output sees, `(channels, filters)`."""
        seen = np.zeros((self.channels, self.filters), bool)
        for _, inputs, outputs in self.windows():
            seen[inputs, outputs] = True
        return seen


def branches_of(module):
    """Returns the branches of a module, and what divides their outputs.

    Args:
        module: `PSA` layer, whose attention is neutral, or `SPC` layer.

    Returns:
        Pair of the `SPC` layer and an integer, the number of scales for a
        `PSA` and 1 for an `SPC`.
    """
    if isinstance(module, PSA):
        return module.spc, len(module.kernel_sizes)
    return module, 1


def dense_kernel(kernel, groups):
    """Returns the kernel of one group that computes the same.

    Args:
        kernel: Array `(k, k, channels / groups, filters)`.
        groups: Integer.

    Returns:
        Array `(k, k, channels, filters)`, with zeros between the groups.
    """
    height, width, seen, filters = kernel.shape
    dense = np.zeros((height, width, seen * groups, filters), kernel.dtype)
    made = filters // groups
    for group in range(groups):
        inputs = slice(group * seen, (group + 1) * seen)
        outputs = slice(group * made, (group + 1) * made)
        dense[:, :, inputs, outputs] = kernel[..., outputs]
    return dense


def embed(dense, pyramid):
    """Puts the kernel of a convolution in the middle of the branches' kernels.

    With neutral attention, 1/S for each of S scales, a PSA module of the
    returned kernels computes what the convolution does of the channels that
    its groups connect: they are S times as large.

    Args:
        dense: Array `(k, k, channels, filters)`.
        pyramid: `Pyramid`.

    Returns:
        List of the branches' kernels, and the share of the kernel's energy
        (sum of squares) that they hold. It is 1.0 if they hold all of it.
    """
    scales = len(pyramid.groups)
    parts = [[] for _ in range(scales)]
    held = np.zeros(dense.shape, bool)
    for branch, inputs, outputs in pyramid.windows():
        size = pyramid.kernel_sizes[branch]
        part = np.zeros(
            (size, size, *dense[0, 0, inputs, outputs].shape), dense.dtype
        )
        near, far = _middle(dense.shape[0], size), _middle(size, dense.shape[0])
        part[far, far] = scales * dense[near, near, inputs, outputs]
        held[near, near, inputs, outputs] = True
        parts[branch].append(part)
    energy = np.square(dense, dtype="float64")
    lost = energy[~held].sum()
    share = 1.0 - lost / energy.sum() if lost else 1.0
    return [np.concatenate(part, axis=-1) for part in parts], share


def _middle(size, other):
    """The middle of `size` pixels that `other` pixels have as well."""
    margin = max(size - other, 0) // 2
    return slice(margin, size - margin)


def exact_order(groups, pyramid):
    """Returns the order of a convolution's outputs that loses nothing.

    Every group of the convolution gives each branch as many of its outputs.

    Args:
        groups: Integer, groups of the convolution.
        pyramid: `Pyramid`.

    Returns:
        Array of `filters` integers: output n of the pyramid is output
        `order[n]` of the convolution. `None` if there is no such order.
    """
    scales = len(pyramid.groups)
    if pyramid.split_input and scales > 1:
        return None
    if all(number == 1 for number in pyramid.groups):
        return np.arange(pyramid.filters)
    made, left = divmod(pyramid.filters, groups * scales)
    if left or any(groups % number for number in pyramid.groups):
        return None
    order = np.arange(pyramid.filters).reshape(groups, scales, made)
    return order.transpose(1, 0, 2).reshape(-1)


def best_orders(dense, pyramid, moments):
    """Returns orders of inputs and outputs that keep much of a kernel.

    Two assignment problems are solved in turn, for the inputs and for the
    outputs, until what the pyramid holds does not grow.

    Args:
        dense: Array `(k, k, channels, filters)`.
        pyramid: `Pyramid`.
        moments: Array `(channels,)`, mean square of every input.

    Returns:
        Two arrays of integers: input m and output n of the pyramid are input
        `inputs[m]` and output `outputs[n]` of the convolution.
    """
    # Imported where it is used, so that the package is imported sooner.
    from scipy.optimize import linear_sum_assignment

    energy = np.square(dense, dtype="float64").sum((0, 1)) * moments[:, None]
    seen = pyramid.connections().astype("float64")
    inputs = np.arange(pyramid.channels)
    best = -1.0
    while True:
        # Rows are places in the pyramid, columns those of the convolution.
        _, outputs = linear_sum_assignment(
            seen.T @ energy[inputs], maximize=True
        )
        _, inputs = linear_sum_assignment(
            seen @ energy[:, outputs].T, maximize=True
        )
        kept = (energy[np.ix_(inputs, outputs)] * seen).sum()
        if kept <= best * (1 + 1e-9):
            return inputs, outputs
        best = kept
