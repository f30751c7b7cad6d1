import numpy as np
import pytest

from keras_epsanet.data.textures import resizing


@pytest.mark.parametrize("side, length", [(28, 28), (50, 28), (9, 28), (5, 6)])
def test_resizing_is_that_of_tensorflow_with_antialiasing(side, length):
    tf = pytest.importorskip("tensorflow")
    rows = np.eye(length, dtype="float32")[:, :, None]
    expected = tf.image.resize(rows, (side, length), antialias=True)[..., 0]
    np.testing.assert_allclose(resizing(side, length), expected, atol=1e-5)
