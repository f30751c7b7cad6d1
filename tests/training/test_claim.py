import warnings

import pytest

from keras_epsanet import storage
from keras_epsanet.training.claim import check_claim, claim_folder
from keras_epsanet.training.lock import FolderLock

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def folder(tmp_path):
    path = f"ram://test_claim/{tmp_path.name}"
    tf.io.gfile.makedirs(path)
    return path


def test_a_folder_of_this_machine_is_locked(tmp_path):
    lock = claim_folder(str(tmp_path))
    assert isinstance(lock, FolderLock)
    check_claim(lock)
    check_claim(None)  # Of a file system without locks.


def test_the_last_claim_of_a_folder_counts(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = claim_folder(folder)
    check_claim(first)
    with pytest.warns(
        UserWarning,
        match=f"^{folder} was written to by process .*it ends "
        "before it writes there again",
    ):
        second = claim_folder(folder)
    check_claim(second)
    with pytest.raises(
        RuntimeError,
        match=f"^{folder} was taken over by process .* since 2.*This process "
        "ends",
    ):
        check_claim(first)


def test_a_claim_that_cannot_be_read_is_an_error(folder, failing_storage):
    claim = claim_folder(folder)
    failing_storage.fail(1)
    with pytest.raises(OSError, match="storage is down"):
        check_claim(claim)
    failing_storage.heal()
    storage.remove(f"{folder}/.lock")
    with pytest.raises(FileNotFoundError):
        check_claim(claim)
