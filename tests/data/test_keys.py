import keras
import pytest

from keras_epsanet.data import keys

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

PURPOSES = ["FILE_ORDER", "RECORD_ORDER", "CROP", "AUGMENTATION", "MIXING"]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_keys_differ_by_seed_purpose_and_number(purpose):
    purpose = getattr(keys, purpose)
    others = [
        (seed, other, number)
        for seed in (0, 1, 2**31 - 1)
        for other in {getattr(keys, name) for name in PURPOSES}
        for number in (0, 1, 10**9)
    ]
    found = [tuple(keys.random_key(*key).numpy()) for key in others]
    assert len(set(found)) == len(PURPOSES) * 9
    assert tuple(keys.random_key(1, purpose, 1).numpy()) in found


def test_keys_are_made_of_all_bits_of_the_seed():
    assert keys.random_key(5, 2, 7).numpy().tolist() == [42, 7]
    assert keys.random_key(2**31 - 1, 4, 0).dtype == "int64"


def test_numbers_stay_what_they_are():
    """Others would give every training other images than before."""
    assert [getattr(keys, name) for name in PURPOSES] == [0, 1, 2, 3, 4]
    assert keys.INT64_MAX == 2**63 - 1
