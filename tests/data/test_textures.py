import numpy as np
import pytest

from keras_epsanet.data.textures import background, resizing


@pytest.mark.parametrize("side, length", [(28, 28), (50, 28), (9, 28), (5, 6)])
def test_resizing_is_that_of_tensorflow_with_antialiasing(side, length):
    tf = pytest.importorskip("tensorflow")
    rows = np.eye(length, dtype="float32")[:, :, None]
    expected = tf.image.resize(rows, (side, length), antialias=True)[..., 0]
    np.testing.assert_allclose(resizing(side, length), expected, atol=1e-5)


def test_backgrounds_are_dark_mixtures_of_two_colors():
    highest = 0
    for seed in range(40):
        image = background(np.random.default_rng(seed), 24, 40)
        assert image.shape == (24, 40, 3) and image.min() >= 0
        highest = max(highest, image.max())
        # All colors lie on the line between two of them.
        colors = image.reshape(-1, 3) - image[0, 0]
        _, (_, second, third), _ = np.linalg.svd(colors, full_matrices=False)
        assert max(second, third) < 1e-9
    assert 140 < highest <= 150


def test_backgrounds_follow_from_their_random_numbers():
    images = [
        background(np.random.default_rng(seed), 24, 40) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 1
