import pytest

from keras_epsanet.data.coco.splitting import split_contents


def contents(number):
    return {
        "images": [{"id": 10 * i} for i in range(number)],
        "annotations": [
            {"id": 1 + i, "image_id": 10 * (i // 2)} for i in range(2 * number)
        ],
        "categories": [{"id": 1, "name": "fig"}],
        "info": 1,
    }


def ids(part):
    return [image["id"] for image in part["images"]]


@pytest.mark.parametrize(
    "number, share, expected",
    [
        (10, 0.2, 2),
        (10, 0.0, 1),
        (10, 0.99, 9),
        (2, 0.2, 1),
        (49, 0.25, 12),
        (10, 0.26, 3),
    ],
)
def test_a_share_of_the_images_is_held_out(number, share, expected):
    whole = contents(number)
    train, val = split_contents(whole, share, seed=0)
    assert len(ids(val)) == expected
    assert sorted(ids(train) + ids(val)) == ids(whole)
    for part in (train, val):
        assert part["categories"] == whole["categories"] and part["info"] == 1
        assert ids(part) == sorted(ids(part))
        owners = {x["image_id"] for x in part["annotations"]}
        assert owners == set(ids(part))
        assert len(part["annotations"]) == 2 * len(ids(part))


def test_the_seed_decides_about_the_images():
    first, again, other = (
        ids(split_contents(contents(40), 0.2, seed)[1]) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_single_image_is_refused():
    with pytest.raises(ValueError, match="Received: 1 images"):
        split_contents(contents(1), 0.2, 0)
