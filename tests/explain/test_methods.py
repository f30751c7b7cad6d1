"""The formulas, pixel by pixel and channel by channel."""

import numpy as np
import pytest

from keras_epsanet.explain import methods

RANDOM = np.random.default_rng(0)
A = RANDOM.uniform(0, 1, (2, 3, 4, 5))
G = RANDOM.normal(size=(2, 3, 4, 5))
G[0, 0, 0, 0] = 0


def by_loops(name):
    maps = np.zeros((2, 3, 4))
    for n in range(2):
        for c in range(5):
            a, g = A[n, ..., c], G[n, ..., c]
            if name == "layercam":
                maps[n] += np.where(g > 0, g, 0) * a
                continue
            weight = g.sum() / 12
            if name == "gradcam++":
                weight = 0
                for value in g.ravel():
                    if value > 0:
                        down = 2 * value**2 + a.sum() * value**3 + 1e-6
                        weight += value**2 / down * value
            maps[n] += weight * a
    return maps


@pytest.mark.parametrize("name", methods.METHODS)
def test_formulas(name):
    np.testing.assert_allclose(
        methods.METHODS[name](A, G), by_loops(name), atol=1e-9
    )


def test_channels_are_summed_by_their_weights():
    found = methods.combine(A, np.array([[1, 0, 0, 0, 2], [0, 0, 3, 0, 0]]))
    np.testing.assert_allclose(found[0], A[0, ..., 0] + 2 * A[0, ..., 4])
    np.testing.assert_allclose(found[1], 3 * A[1, ..., 2])
