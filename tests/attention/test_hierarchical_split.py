import pytest
from equations import hs, res2net, values

from keras_epsanet.attention import HierarchicalSplit


def weights_of(layer):
    pairs = zip(layer.convolutions, layer.norms)
    return [values(conv.kernel, norm) for conv, norm in pairs]


@pytest.mark.parametrize("strides, chained", [(1, None), (1, False), (2, None)])
def test_equation_of_sums(check_equation, size, dtype, strides, chained):
    check_equation(
        lambda **kwargs: HierarchicalSplit(
            4, strides=strides, chained=chained, **kwargs
        ),
        lambda x, layer: res2net(
            x, weights_of(layer), strides == 1 and chained is None, strides
        ),
        (2, *size, 12),
        dtype,
    )


def test_equation_of_slices_side_by_side(check_equation, size, dtype):
    check_equation(
        lambda **kwargs: HierarchicalSplit(4, "concat", **kwargs),
        lambda x, layer: hs(x, weights_of(layer)),
        (2, *size, 12),
        dtype,
    )


def test_widths_of_the_convolutions():
    layer = HierarchicalSplit(4, "concat")
    layer.build((None, 4, 4, 20))
    assert [conv.filters for conv in layer.convolutions] == [5, 7, 8]
    layer = HierarchicalSplit(4)
    layer.build((None, 4, 4, 20))
    assert [conv.filters for conv in layer.convolutions] == [5, 5, 5]


@pytest.mark.parametrize(
    "chained, strides, outputs", [(True, 1, 35), (False, 1, 35), (False, 2, 12)]
)
def test_operations_by_hand(chained, strides, outputs):
    layer = HierarchicalSplit(
        4, strides=strides, chained=chained, data_format="channels_last"
    )
    layer.build((1, 5, 7, 12))
    counts = {
        "macs": 3 * 9 * 3 * 3 * outputs,
        "normalized": 3 * 3 * outputs,
        "relus": 3 * 3 * outputs,
    }
    if not chained:
        counts["pooled"] = 3 * 5 * 7  # What goes in, as of any pooling.
    assert layer.count_operations((1, 5, 7, 12)) == counts


def test_arguments_and_training(check_contract):
    check_contract(
        HierarchicalSplit,
        scales=4,
        merge="add",
        kernel_size=3,
        strides=1,
        chained=None,
    )
