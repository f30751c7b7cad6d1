import numpy as np
import pytest

from keras_epsanet.integers import (
    check_all_positive,
    check_positive,
    is_integer,
)
from keras_epsanet.layers import PSA


@pytest.mark.parametrize("value", ["3", 3.0, 0, -1, None, True, (3,)], ids=repr)
def test_what_is_no_positive_integer_is_refused(value):
    check_positive(first=1, other=2**40)
    with pytest.raises(ValueError) as error:
        check_positive(first=1, other=value)
    assert str(error.value) == (
        f"`other` must be a positive integer. Received: other={value!r}"
    )


@pytest.mark.parametrize("values", ["35", 3, (), (3, "5"), (3, 0)], ids=repr)
def test_what_is_no_tuple_of_them_is_refused(values):
    check_all_positive("sizes", [3, 5])
    with pytest.raises(ValueError) as error:
        check_all_positive("sizes", values)
    assert str(error.value).endswith(f"Received: sizes={values!r}")


def test_numbers_of_numpy_are_integers_too():
    check_positive(filters=np.int64(64), groups=np.uint8(1))
    check_all_positive("sizes", (np.int32(3), 5))
    layer = PSA(np.int64(64), kernel_sizes=(np.int64(3), 5), groups=(1, 4))
    assert PSA.from_config(layer.get_config()).filters == 64


def test_integers_of_any_sign_are_told_from_others():
    assert all(map(is_integer, (-1, 0, 2**40, np.int64(-1), np.uint8(0))))
    assert not any(map(is_integer, ("1", 1.0, None, False, (1,))))
