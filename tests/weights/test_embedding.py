import itertools

import numpy as np
import pytest

from keras_epsanet.weights.embedding import (
    Pyramid,
    best_orders,
    dense_kernel,
    embed,
    exact_order,
)

SMALL = Pyramid(16, 16, (3, 5, 7, 9), (1, 2, 4, 4))
LARGE = Pyramid(64, 64, (3, 5, 5, 7), (8, 8, 8, 8))


def random_kernel(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_connections_are_those_of_the_groups():
    seen = SMALL.connections()
    assert seen[:, :4].all()  # One group sees all.
    assert seen[:8, 4:6].all() and not seen[8:, 4:6].any()
    assert seen.sum() == 16 * 4 + 8 * 4 + 4 * 4 + 4 * 4


def test_a_branch_of_a_split_input_sees_its_part():
    seen = Pyramid(16, 8, (3, 3), (1, 2), split_input=True).connections()
    assert seen[:8, :4].all() and not seen[8:, :4].any()
    assert seen[8:12, 4:6].all() and seen[12:, 6:].all()
    assert seen.sum() == 8 * 4 + 4 * 4


def test_a_dense_kernel_has_zeros_between_the_groups():
    kernel = random_kernel(3, 3, 4, 6)
    dense = dense_kernel(kernel, 2)
    assert dense.shape == (3, 3, 8, 6)
    np.testing.assert_array_equal(dense[:, :, :4, :3], kernel[..., :3])
    np.testing.assert_array_equal(dense[:, :, 4:, 3:], kernel[..., 3:])
    assert not dense[:, :, :4, 3:].any() and not dense[:, :, 4:, :3].any()


def test_kernels_are_in_the_middle_and_as_often_as_scales():
    dense = random_kernel(3, 3, 16, 16)
    kernels, share = embed(dense, SMALL)
    assert [kernel.shape for kernel in kernels] == [
        (3, 3, 16, 4),
        (5, 5, 8, 4),
        (7, 7, 4, 4),
        (9, 9, 4, 4),
    ]
    np.testing.assert_array_equal(kernels[0], 4 * dense[..., :4])
    # The second group of the branch of 5×5 pixels.
    np.testing.assert_array_equal(
        kernels[1][1:4, 1:4, :, 2:], 4 * dense[:, :, 8:, 6:8]
    )
    assert np.count_nonzero(kernels[1]) == 9 * 8 * 4
    seen = SMALL.connections()
    expected = np.square(dense)[:, :, seen].sum() / np.square(dense).sum()
    assert share == pytest.approx(expected, rel=1e-5)


def test_a_smaller_kernel_holds_the_middle_of_a_larger_one():
    dense = random_kernel(5, 5, 4, 4)
    kernels, share = embed(dense, Pyramid(4, 4, (3,), (1,)))
    np.testing.assert_array_equal(kernels[0], dense[1:4, 1:4])
    assert share < 1.0


@pytest.mark.parametrize("groups", [8, 16])
def test_the_exact_order_loses_nothing(groups):
    pyramid = LARGE._replace(groups=(8, 4, 2, 1))
    dense = dense_kernel(random_kernel(3, 3, 64 // groups, 64), groups)
    order = exact_order(groups, pyramid)
    if groups == 16:
        # Each group makes 4 outputs: one for each branch.
        np.testing.assert_array_equal(order[:3], [0, 4, 8])
    assert sorted(order) == list(range(64))
    assert embed(dense[..., order], pyramid)[1] == 1.0
    assert embed(dense, pyramid)[1] < 1.0


def test_the_order_of_resnext_is_that_of_its_groups():
    width, q = 256, 2
    pyramid = Pyramid(width, width, (3, 5, 5, 7), (32,) * 4)
    order = exact_order(32, pyramid)
    branch, group, t = 3, 17, 1
    new = branch * width // 4 + group * q + t
    assert order[new] == 4 * q * group + q * branch + t


@pytest.mark.parametrize(
    "groups, pyramid",
    [
        (1, SMALL),
        (3, LARGE),
        (32, LARGE),  # 2 outputs a group, 4 branches.
        (8, LARGE._replace(split_input=True)),
    ],
)
def test_there_is_not_always_an_exact_order(groups, pyramid):
    assert exact_order(groups, pyramid) is None


def test_groups_of_one_need_no_order():
    order = exact_order(1, SMALL._replace(groups=(1, 1, 1, 1)))
    np.testing.assert_array_equal(order, np.arange(16))


def test_the_best_orders_find_hidden_groups():
    # The kernel's groups are what the pyramid has, with shuffled channels.
    pyramid = Pyramid(16, 16, (3, 3), (4, 4))
    generator = np.random.default_rng(0)
    dense = np.zeros((3, 3, 16, 16), "float32")
    dense[:, :, pyramid.connections()] = 1.0
    shuffled = dense[:, :, generator.permutation(16)]
    shuffled = shuffled[..., generator.permutation(16)]
    inputs, outputs = best_orders(shuffled, pyramid, np.ones(16))
    assert sorted(inputs) == sorted(outputs) == list(range(16))
    found = embed(shuffled[:, :, inputs][..., outputs], pyramid)[1]
    assert found > embed(shuffled, pyramid)[1] + 0.3


def test_the_best_orders_keep_what_the_large_inputs_are_multiplied_with():
    pyramid = Pyramid(4, 4, (3, 3), (2, 2))
    dense = np.ones((1, 1, 4, 4), "float32")
    moments = np.array([0.0, 1.0, 1.0, 1.0])
    dense[..., 1, :] = 3.0
    dense[..., 0, :] = 100.0  # Always zero: worth nothing.
    inputs, outputs = best_orders(dense, pyramid, moments)
    energy = np.square(dense[0, 0]) * moments[:, None]
    kept = (energy[np.ix_(inputs, outputs)] * pyramid.connections()).sum()
    assert kept == 9 * 2 + 1 * 2 + 1 * 2


@pytest.mark.parametrize("seed", range(4))
def test_no_exchange_of_two_channels_would_keep_more(seed):
    generator = np.random.default_rng(seed)
    pyramid = SMALL._replace(channels=24)
    # Pixels, inputs and outputs of very different sizes.
    dense = generator.normal(size=(3, 3, 24, 16)).astype("float32") ** 3
    dense *= generator.lognormal(size=(24, 16))
    moments = generator.lognormal(sigma=2, size=24)
    inputs, outputs = best_orders(dense, pyramid, moments)
    energy = np.square(dense, dtype="float64").sum((0, 1)) * moments[:, None]
    seen = pyramid.connections()

    def kept(inputs, outputs):
        return energy[np.ix_(inputs, outputs)][seen].sum()

    best = kept(inputs, outputs)
    for order, with_order in (
        (inputs, lambda order: kept(order, outputs)),
        (outputs, lambda order: kept(inputs, order)),
    ):
        assert sorted(order) == list(range(len(order)))
        for i, j in itertools.combinations(range(len(order)), 2):
            other = order.copy()
            other[[i, j]] = order[[j, i]]
            assert with_order(other) <= best * (1 + 1e-9)


def test_a_single_scale_has_an_order_whatever_it_sees():
    pyramid = Pyramid(4, 4, (3,), (2,), split_input=True)
    np.testing.assert_array_equal(exact_order(2, pyramid), np.arange(4))
    assert exact_order(2, pyramid._replace(groups=(1,))) is not None
    two = Pyramid(4, 4, (3, 5), (1, 1), split_input=True)
    assert exact_order(1, two) is None
