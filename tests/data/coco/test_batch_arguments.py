import numpy as np
import pytest

from keras_epsanet.data.coco.batch_arguments import (
    check_arguments,
    check_format,
    check_num_images,
    check_sizes,
)

GOOD = {
    "batch_size": 2,
    "image_size": (40, 60),
    "pad_to": 32,
    "shard": (0, 1),
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
    ],
)
def test_what_is_no_size_is_refused(name, value, received):
    with pytest.raises(ValueError, match=f"`{name}` .*: {name}={received}"):
        check_arguments(**{**GOOD, name: value})


@pytest.mark.parametrize("size", [[40, 60], np.array((40, 60)), (40, 40)])
def test_pairs_of_any_kind_are_allowed(size):
    check_arguments(**{**GOOD, "image_size": size, "pad_to": size})


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
