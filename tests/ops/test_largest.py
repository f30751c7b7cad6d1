import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops.largest import largest_over


@pytest.mark.parametrize("axis", [1, 3, -1, (1, 2), (2, 3)])
def test_maxima_are_numpys(axis):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    x = x.astype("float32")
    y = ops.convert_to_numpy(largest_over(ops.convert_to_tensor(x), axis))
    np.testing.assert_array_equal(y, x.max(axis))
