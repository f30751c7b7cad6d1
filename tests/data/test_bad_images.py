import pytest

from keras_epsanet.data.bad_images import BadImages, check_share


@pytest.mark.parametrize(
    "bad, num_images", [(3, 3), (3, 10), (4, 400), (4, 499), (50, 5000)]
)
def test_a_few_bad_images_are_allowed(bad, num_images):
    names = [f"{i}.jpg" for i in range(bad)]
    check_share(names, num_images)
    images = BadImages(num_images)
    with pytest.warns(UserWarning, match="skipped"):
        for name in names:
            images.add(name, "an error")
    assert images.names == names


@pytest.mark.parametrize(
    "bad, num_images", [(4, 10), (4, 399), (5, 499), (51, 5000)]
)
def test_more_than_one_percent_and_three_are_refused(bad, num_images):
    names = [f"{i}.jpg" for i in range(bad)]
    message = f"1 % .* bad: {bad} of {num_images}, such as .*{names[-1]}"
    with pytest.raises(ValueError, match=message):
        check_share(names, num_images)
    images = BadImages(num_images)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=message):
        for name in names:
            images.add(name, "an error")


def test_a_bad_image_counts_once_and_warns_once(recwarn):
    images = BadImages(3)
    for _ in range(9):
        images.add("a.jpg", "an error")
    assert images.names == ["a.jpg"] and len(recwarn) == 1


def test_names_can_be_printed():
    images = BadImages(3)
    with pytest.warns(UserWarning):
        images.add("\udcfc.jpg", "an error")
    assert images.names == [r"\xfc.jpg"]
