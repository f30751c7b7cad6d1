import numpy as np
import pytest

from keras_epsanet.detection.pictures import resize as resize_picture
from keras_epsanet.explain.map_sizes import finish, rescale, resize


@pytest.mark.parametrize("size", [(7, 9), (3, 2), (4, 5)])
def test_maps_are_resized_as_pictures_are(size):
    maps = np.random.default_rng(0).uniform(size=(2, 4, 5)).astype("float32")
    for one, found in zip(maps, resize(maps, size)):
        expected = resize_picture(one[..., None], size)[..., 0]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_corners_stay_where_they_are():
    maps = np.array([[1.0, 2], [3, 4]])
    found = resize(maps, (3, 5), align_corners=True)
    np.testing.assert_allclose(found[0], [1, 1.25, 1.5, 1.75, 2])
    np.testing.assert_allclose(found[:, 0], [1, 2, 3])
    assert resize(maps, (1, 1), align_corners=True).tolist() == [[1]]


def test_each_map_has_its_own_range():
    maps = np.array([[[1.0, 3]], [[-10, 90]], [[5, 5]]])
    expected = [[[0, 1]], [[0, 1]], [[0, 0]]]
    np.testing.assert_allclose(rescale(maps), expected, atol=1e-6)


def test_what_speaks_against_a_class_is_left_out():
    found = finish(np.array([[[-4.0, 0, 2]]]), (1, 3))
    np.testing.assert_allclose(found, [[[0, 0, 1]]], atol=1e-6)
    assert (finish(np.full((1, 2, 2), -1.0), (4, 4)) == 0).all()
