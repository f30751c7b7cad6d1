import keras
import numpy as np
import pytest

from keras_epsanet.attention import SE
from keras_epsanet.models.arguments import (
    any_size,
    check_frame,
    check_head,
    check_prefix,
    check_stages,
    check_variant,
    image_input,
    refuse_unknown,
)
from keras_epsanet.models.attention_slot import AttentionSlot

KNOWN = ["classes", "input_shape", "classifier_activation", "pooling"]


@pytest.mark.parametrize(
    "unknown, hint",
    [
        ({"num_classes": 2}, "Use `classes` instead of `num_classes`. "),
        ({"image_shape": 2}, "Use `input_shape` instead of `image_shape`. "),
        (
            {"activation": 2},
            "Use `classifier_activation` instead of `activation`. ",
        ),
        ({"poling": 2}, "Use `pooling` instead of `poling`. "),
        ({"qqq": 2}, ""),
        (
            {"qqq": 2, "clases": "x", "poling": None},
            "Use `classes` instead of `clases`, "
            "`pooling` instead of `poling`. ",
        ),
    ],
)
def test_unknown_arguments_name_those_that_may_be_meant(unknown, hint):
    received = ", ".join(f"{k}={v!r}" for k, v in unknown.items())
    with pytest.raises(TypeError) as error:
        refuse_unknown("Some", unknown, iter(KNOWN))
    assert str(error.value) == (
        f"Some has no such argument. {hint}Received: {received}"
    )


def test_no_unknown_argument_and_no_synonym_that_is_unknown_too():
    refuse_unknown("Some", {}, KNOWN)
    with pytest.raises(TypeError) as error:
        refuse_unknown("Some", {"input_shape": 2}, ["image_shape"])
    assert "`image_shape` instead" in str(error.value)
    with pytest.raises(TypeError) as error:
        refuse_unknown("Some", {"num_classes": 2}, ["width"])
    assert "instead" not in str(error.value)


@pytest.mark.parametrize(
    "include_top, pooling, classes, message",
    [
        (True, None, 1, None),
        (True, "avg", 1, None),
        (True, "max", 1, None),
        (False, None, 0, None),
        (False, None, None, None),
        (True, None, 0, "classes=0"),
        (True, None, 1.0, "classes=1.0"),
        (True, None, "10", "classes='10'"),
        (False, "mean", 1, "pooling='mean'"),
        (True, "mean", 1, "pooling='mean'"),
    ],
)
def test_heads(include_top, pooling, classes, message):
    if message is None:
        check_head(include_top, pooling, classes)
        return
    with pytest.raises(ValueError, match=f"Received: {message}"):
        check_head(include_top, pooling, classes)


def test_prefixes():
    for prefix in ("", "left_"):
        check_prefix(prefix)
    for prefix in ("a/b", "/", None):
        with pytest.raises(ValueError, match=f"Received: prefix={prefix!r}"):
            check_prefix(prefix)


def image(shape=None, tensor=None, include_top=True, **options):
    options = {"data_format": "channels_last", "dtype": None, **options}
    return image_input(tensor, shape, include_top, **options)


@pytest.mark.parametrize(
    "include_top, data_format, shape",
    [
        (True, "channels_last", (224, 224, 3)),
        (False, "channels_last", (None, None, 3)),
        (True, "channels_first", (3, 224, 224)),
        (False, "channels_first", (3, None, None)),
    ],
)
def test_shapes_unless_told_otherwise(include_top, data_format, shape):
    found = image(include_top=include_top, data_format=data_format)
    assert found.shape == (None, *shape)


# A shape, channels last, and what is wrong with it.
SHAPES = [
    ((32, 32, 1), None),
    ((None, None, 4), None),
    ((32, None, 3), None),
    ((31, 32, 3), "at least 32"),
    ((32, 31, 3), "at least 32"),
    ((None, 31, 3), "at least 32"),
    ((31, None, 3), "at least 32"),
    ((32, 32, None), "channels must be known"),
    ((32, 32), "3 entries"),
    ((1, 32, 32, 3), "3 entries"),
]


@pytest.mark.parametrize("shape", [("32", 32, 3), (32, 32, 0), (32.0, 32, 3)])
def test_sides_and_channels_are_positive_integers(shape):
    with pytest.raises(ValueError, match="`input_shape` .*integers or None"):
        image(shape)


@pytest.mark.parametrize("shape, message", SHAPES)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("given", [tuple, list, keras.Input])
def test_shapes_of_an_image(shape, message, data_format, given):
    if data_format == "channels_first" and len(shape) == 3:
        shape = (shape[2], *shape[:2])
    arguments = {"data_format": data_format}
    if given is keras.Input:
        arguments["tensor"] = keras.Input(shape)
    else:
        arguments["shape"] = given(shape)
    if message is None:
        assert image(**arguments).shape == (None, *shape)
        return
    with pytest.raises(ValueError, match=f"{message}.*Received: input_shape"):
        image(**arguments)


@pytest.mark.parametrize(
    "shape, data_format, hint",
    [
        ((3, 32, 64), "channels_last", "write (32, 64, 3), or"),
        ((3, None, 64), "channels_last", "write (None, 64, 3), or"),
        ((32, 64, 3), "channels_first", "write (3, 32, 64), or"),
        ((3, 31, 64), "channels_last", None),
        ((None, 16, 64), "channels_last", None),
    ],
)
def test_a_shape_of_the_other_data_format_names_its_own(
    shape, data_format, hint
):
    with pytest.raises(ValueError) as error:
        image(shape, data_format=data_format)
    if hint is None:
        assert "looks like" not in str(error.value)
    else:
        assert hint in str(error.value)


def test_a_tensor_is_taken_as_it_is():
    tensor = keras.Input((32, 40, 3))
    assert image(tensor=tensor) is tensor
    assert image([32, 40, 3], tensor=tensor) is tensor
    with pytest.raises(ValueError, match=r"contradict.*=\(40, 32, 3\)"):
        image((40, 32, 3), tensor=tensor)
    with pytest.raises(ValueError, match="must be a Keras tensor"):
        image(tensor=np.ones((1, 32, 32, 3)))


@pytest.mark.parametrize(
    "dtype, of_input",
    [
        (None, "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("bfloat16", "float32"),
        ("mixed_bfloat16", "float32"),
        ("mixed_float16", "float32"),
    ],
)
def test_images_are_not_rounded(dtype, of_input):
    assert image(dtype=dtype).dtype == of_input


def test_every_stage_has_blocks_and_filters():
    check_stages((1, 2), [8, 16])
    for blocks, filters in (((1, 2), (8,)), ((1,), (8, 16))):
        with pytest.raises(ValueError, match="one entry for each.*Received"):
            check_stages(blocks, filters)


def test_variants_are_named():
    check_variant("b", ("a", "b"))
    with pytest.raises(ValueError, match="one of a, b. Received: variant='c'"):
        check_variant("c", ("a", "b"))


def test_images_of_any_size_are_the_default_of_either_format():
    assert any_size((None, None, 3)) is None
    for shape in ((None, None, 1), (64, 64, 3), (3, None, None), None):
        assert any_size(shape) == shape


BRANCH = AttentionSlot(SE(), "branch")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({}, None),
        ({"stem_filters": (8, 8)}, None),
        ({"downsampling": "max"}, None),
        ({"downsampling": "average"}, None),
        ({"attention": BRANCH}, None),
        ({"attention": BRANCH, "branch_output": True}, None),
        ({"stem_filters": ()}, "one entry at least.*stem_filters"),
        ({"downsampling": "mean"}, "Received: downsampling='mean'"),
        ({"branch_output": True}, "branch_output=True, attention=None"),
        (
            {"branch_output": True, "attention": AttentionSlot(SE())},
            "branch_output=True, attention='attention'",
        ),
    ],
)
def test_frames(changes, message):
    frame = {
        "stem_filters": (64,),
        "downsampling": "convolution",
        "branch_output": False,
        "attention": None,
    }
    if message is None:
        check_frame(**{**frame, **changes})
        return
    with pytest.raises(ValueError, match=message):
        check_frame(**{**frame, **changes})
