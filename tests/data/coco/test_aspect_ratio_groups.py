import keras
import pytest

from keras_epsanet.data.coco.aspect_ratio_groups import grouped_order

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

WIDE, TALL = (3, 4), (4, 3)


def epochs(sizes, batch_size, number=3, seed=0):
    order = grouped_order(sizes, batch_size, seed)
    per_epoch = len(sizes) // batch_size * batch_size
    places = tf.data.Dataset.range(number * per_epoch)
    dataset = places.map(lambda i: order(i // per_epoch, i % per_epoch))
    images = [int(i) for i in dataset]
    return [
        images[begin : begin + per_epoch]
        for begin in range(0, len(images), per_epoch)
    ]


@pytest.mark.parametrize(
    "wide, tall", [(8, 12), (7, 12), (5, 7), (0, 9), (9, 0)]
)
def test_at_most_one_batch_has_both_shapes(wide, tall):
    sizes = wide * [WIDE] + tall * [TALL]
    for epoch in epochs(sizes, 4):
        assert len(set(epoch)) == len(epoch) == len(sizes) // 4 * 4
        shapes = [
            {sizes[i] for i in epoch[begin : begin + 4]}
            for begin in range(0, len(epoch), 4)
        ]
        assert sum(len(shape) > 1 for shape in shapes) <= 1


def test_every_epoch_has_an_order_of_its_own():
    sizes = 8 * [WIDE] + 8 * [TALL]
    first, second, third = epochs(sizes, 4)
    assert first != second != third
    assert epochs(sizes, 4) == [first, second, third]
    assert epochs(sizes, 4, seed=1)[0] != first
    # Batches of both shapes alternate at random.
    wide = [[i < 8 for i in epoch[::4]] for epoch in (first, second, third)]
    assert wide != 3 * [wide[0]]


def test_less_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size=3, 2 images"):
        grouped_order([WIDE, TALL], 3, seed=0)
    assert sorted(epochs([WIDE, TALL], 2)[0]) == [0, 1]


def test_square_images_are_no_wide_ones():
    sizes = 4 * [(4, 4)] + 4 * [TALL] + 4 * [WIDE]
    for epoch in epochs(sizes, 4, number=20):
        wide = [{i >= 8 for i in epoch[j : j + 4]} for j in (0, 4, 8)]
        assert sorted(map(len, wide)) == [1, 1, 1]


def test_all_images_are_in_some_batch_of_some_epoch():
    seen = epochs(5 * [WIDE] + 5 * [TALL], 4, number=12)
    assert set().union(*seen) == set(range(10))
