import keras
import numpy as np
import pytest

from keras_epsanet.layers import SPC
from keras_epsanet.ops import forms, layouts


@pytest.mark.parametrize("layout", [None, "auto", *layouts.LAYOUTS])
def test_these_layouts_are_known(layout):
    assert layouts.check(layout) == layout


@pytest.mark.parametrize("layout", ["NHWC", "", "AUTO", 1, ["auto"]])
def test_other_words_are_refused_with_those_that_there_are(layout):
    with pytest.raises(ValueError) as info:
        layouts.check(layout)
    for name in ("None", '"auto"', '"channels_last"', '"channels_first"'):
        assert name in str(info.value)
    assert f"Received: layout={layout!r}" in str(info.value)


@pytest.mark.parametrize("source", layouts.LAYOUTS)
@pytest.mark.parametrize("target", layouts.LAYOUTS)
def test_images_are_rearranged(source, target):
    images = np.arange(120.0).reshape(2, 3, 4, 5)
    found = layouts.rearrange(
        keras.ops.convert_to_tensor(images), source, target
    )
    expected = images
    if source != target:
        axes = (0, 3, 1, 2) if target == "channels_first" else (0, 2, 3, 1)
        expected = images.transpose(axes)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), expected)
    if keras.backend.backend() == "torch":
        assert found.is_contiguous()


def test_a_layout_is_found_by_all_that_its_time_depends_on():
    def ask(shape=(2, 6, 8, 8), **changes):
        arguments = {"filters": 16, "kernel_sizes": (3, 5), "groups": (1, 4)}
        spc = SPC(**{**arguments, "data_format": "channels_last", **changes})
        with forms.asked_for() as asked:
            found = layouts.find(spc, shape)
        (problem,) = asked
        return problem, found

    problem, found = ask()
    assert problem == layouts.Pyramid(
        (6, 8, 8),
        16,
        (3, 5),
        (1, 4),
        (1, 1),
        False,
        "channels_last",
        "float32",
    )
    assert found is None
    others = [
        ask(**changes)[0]
        for changes in (
            {"shape": (2, 6, 9, 8)},
            {"filters": 32},
            {"kernel_sizes": (3, 7)},
            {"groups": (1, 2)},
            {"strides": 2},
            {"split_input": True},
            {"data_format": "channels_first"},
            {"dtype": "mixed_bfloat16"},
        )
    ]
    with forms.tried({problem: "channels_first"}):
        # Of any number of images.
        assert ask((5, 6, 8, 8)) == (problem, "channels_first")
        assert ask((None, None, None, 8))[1] is None
        for other in others:
            assert other != problem and forms.look_up(other, None) is None
    assert ask()[1] is None
