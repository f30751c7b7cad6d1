import keras
import numpy as np
from keras import ops

from keras_epsanet.detection.fpn import AddUpsampled, apply_feature_pyramid

FEATURES = {
    f"P{level}": keras.Input((None, None, 2**level)) for level in range(2, 6)
}


def build(*arguments, **options):
    levels = apply_feature_pyramid(FEATURES, *arguments, **options)
    return keras.Model(list(FEATURES.values()), list(levels.values()))


def maps(height, width):
    return [
        np.ones((1, -(-height // 2**n), -(-width // 2**n), 2**n), "float32")
        for n in range(2, 6)
    ]


def test_sizes_of_all_levels_round_up():
    levels = build(3, 7, pooled=False, filters=6)(maps(100, 130))
    expected = [(13, 17), (7, 9), (4, 5), (2, 3), (1, 2)]
    assert [tuple(x.shape) for x in levels] == [
        (1, h, w, 6) for h, w in expected
    ]


def test_coarsest_level_of_the_r_cnns_is_every_other_pixel():
    *_, fine, coarse = build(2, 6, pooled=True, filters=6)(maps(96, 160))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(coarse), ops.convert_to_numpy(fine)[:, ::2, ::2]
    )


# Of a backbone with 256, 512, 1,024 and 2,048 channels.
def test_numbers_of_parameters():
    features = {
        f"P{level}": keras.Input((None, None, 2 ** (level + 6)))
        for level in range(2, 6)
    }
    for arguments, pooled, number in (
        ((2, 6), True, 3_344_384),
        ((3, 7), False, 7_997_440),
    ):
        levels = apply_feature_pyramid(features, *arguments, pooled=pooled)
        model = keras.Model(list(features.values()), list(levels.values()))
        assert model.count_params() == number


def test_pixels_are_repeated_to_the_size_of_the_fine_map():
    fine = np.zeros((1, 3, 5, 1), "float32")
    coarse = np.arange(6, dtype="float32").reshape(1, 2, 3, 1)
    outputs = ops.convert_to_numpy(AddUpsampled()([fine, coarse]))
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    np.testing.assert_array_equal(outputs[0, ..., 0], expected)
