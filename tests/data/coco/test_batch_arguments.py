import numpy as np
import pytest

from keras_epsanet.data.coco.batch_arguments import (
    check_format,
    check_num_images,
    check_sizes,
    checked_numbers,
)

GOOD = {
    "batch_size": 2,
    "image_size": (40, 60),
    "pad_to": 32,
    "shard": (0, 1),
    "max_objects": 100,
    "seed": 0,
    "first_step": 0,
}


@pytest.mark.parametrize(
    "name, value, received",
    [
        ("batch_size", 0, "0"),
        ("batch_size", "2", "'2'"),
        ("batch_size", 2.0, "2.0"),
        ("image_size", 97, "97"),
        ("image_size", "97", "'97'"),
        ("image_size", (40.0, 60), r"\(40.0, 60\)"),
        ("image_size", (40, 50, 60), r"\(40, 50, 60\)"),
        ("image_size", (60, 40), r"\(60, 40\)"),
        ("image_size", None, "None"),
        ("pad_to", 0, "0"),
        ("pad_to", True, "True"),
        ("pad_to", "32", "'32'"),
        ("pad_to", 32.0, "32.0"),
        ("pad_to", (32,), r"\(32,\)"),
        ("shard", (2, 2), r"\(2, 2\)"),
        ("shard", (-1, 2), r"\(-1, 2\)"),
        ("shard", (0, 0), r"\(0, 0\)"),
        ("shard", (0.0, 1), r"\(0.0, 1\)"),
        ("shard", (0, 1, 2), r"\(0, 1, 2\)"),
        ("shard", 1, "1"),
        ("first_step", -1, "-1"),
        ("first_step", 1.0, "1.0"),
        ("max_objects", -1, "-1"),
        ("max_objects", 0, "0"),
        ("max_objects", 2.5, "2.5"),
        ("seed", -1, "-1"),
        ("seed", 2**31, "2147483648"),
        ("seed", 0.5, "0.5"),
    ],
)
def test_what_is_out_of_range_is_refused(name, value, received):
    with pytest.raises(ValueError, match=f"`{name}` .*: {name}={received}"):
        checked_numbers(**{**GOOD, name: value})


@pytest.mark.parametrize("size", [[40, 60], np.array((40, 60)), (40, 40)])
def test_pairs_of_any_kind_are_allowed(size):
    checked_numbers(**{**GOOD, "image_size": size, "pad_to": size})


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_numbers_of_numpy_become_python_s(kind):
    given = {"batch_size": 4, "image_size": (40, 60), "shard": (1, 2)}
    given |= {"max_objects": 3, "seed": 0, "first_step": 7}
    for pad_to in (32, (40, 60)):
        numbers = {
            name: kind(x) if isinstance(x, int) else np.array(x, kind)
            for name, x in {**given, "pad_to": pad_to}.items()
        }
        found = checked_numbers(**numbers)
        assert found == (4, (40, 60), pad_to, (1, 2), 3, 0, 7)
        for value in found:
            for number in value if isinstance(value, tuple) else [value]:
                assert type(number) is int


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="xyxy, .*Received: .*='XYXY'"):
        check_format("XYXY")


def test_training_needs_a_batch_and_evaluation_an_image():
    check_num_images("a.json", 4, 3, training=False)
    for number, training in ((3, True), (0, False)):
        with pytest.raises(ValueError, match=f"{number} images in a.json"):
            check_num_images("a.json", 4, number, training)


def test_images_must_fit_what_they_are_padded_to():
    check_sizes([(40, 60)], (40, 60))
    with pytest.raises(ValueError, match=r"an image of \(40, 60\)"):
        check_sizes([(30, 40), (40, 60)], (64, 59))
