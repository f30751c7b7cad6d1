import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection.fpn import (
    AddUpsampled,
    apply_feature_pyramid,
    find_features,
)

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


def set_weights(model, level, kind, center, bias):
    """Lets a convolution pass the sum of its inputs by a factor."""
    layer = model.get_layer(f"fpn_{kind}_P{level}")
    kernel = np.zeros(layer.kernel.shape, "float32")
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = center
    layer.kernel.assign(kernel)
    layer.bias.assign([bias])


@pytest.mark.parametrize("pooled", [True, False])
def test_sums_go_from_coarse_to_fine(pooled):
    """Each map has a number of its own; nothing is cut off below 0."""
    model = build(2, 7, pooled=pooled, filters=1)
    for level in range(2, 6):
        set_weights(model, level, "lateral", 2**-level, 10**level)
        set_weights(model, level, "output", 1, -1)
    if not pooled:
        set_weights(model, 6, "output", -(2**-5), 0)
        set_weights(model, 7, "output", 3, 0)
    levels = model(maps(64, 64))
    # Of each lateral convolution one more than the power of ten.
    p5 = 100_000
    expected = [111_103, 111_002, 110_001, p5, p5, p5]
    if not pooled:
        expected[4:] = -1, -3
    for x, value in zip(levels, expected):
        np.testing.assert_allclose(ops.convert_to_numpy(x), value)


def test_kernels_start_as_pytorch_s_xavier_uniform():
    kernel = build(2, 6, pooled=True).get_layer("fpn_output_P3").kernel
    kernel = ops.convert_to_numpy(kernel)
    limit = (6 / (9 * 256 + 9 * 256)) ** 0.5
    np.testing.assert_allclose(abs(kernel).max(), limit, rtol=0.01)
    np.testing.assert_allclose(kernel.std(), limit / 3**0.5, rtol=0.01)


def test_backbones_without_a_level_or_with_channels_first_are_refused():
    x = keras.Input((8, 8, 3))
    backbone = keras.Model(x, x)
    with pytest.raises(ValueError, match="for P3, P4. Received: none of"):
        find_features(backbone, ("P3", "P4"))
    backbone.pyramid_outputs = {"P3": x, "P5": x}
    with pytest.raises(ValueError, match="for P3, P4. Received: P3, P5 of"):
        find_features(backbone, ("P3", "P4"))
    assert find_features(backbone, ("P3",)) == {"P3": x}
    x = keras.Input((3, 8, 8))
    backbone = keras.Model(x, x)
    backbone.pyramid_outputs = {"P3": x}
    with pytest.raises(ValueError, match="input_shape=.None, 3, 8, 8"):
        find_features(backbone, ("P3",))
