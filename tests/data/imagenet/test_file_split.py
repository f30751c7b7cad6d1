import os

import keras
import numpy as np
import pytest

from keras_epsanet.data.imagenet.file_split import FileSplit, Slots

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

NUM, BATCH = 12, 4


def read(slots, seed):
    """Numbers of the images, which are the labels of their files."""
    split = FileSplit([(f"{i}.jpg", i) for i in range(NUM)])
    numbers = []
    for _, indices, (files, labels) in split.chunks(slots, seed):
        assert indices.numpy().tolist() == labels.numpy().tolist()
        assert [x.decode() for x in files.numpy()] == [
            f"{i}.jpg" for i in indices.numpy()
        ]
        numbers += indices.numpy().tolist()
    return numbers


def test_order_of_files_changes_with_seed_and_epoch():
    slots = Slots(BATCH, NUM, 0, 3 * NUM // BATCH, (0, 1))
    orders = [
        tuple(order)
        for seed in (0, 1)
        for order in np.reshape(read(slots, seed), (3, NUM)).tolist()
    ]
    assert all(sorted(order) == list(range(NUM)) for order in orders)
    assert len(set(orders)) == 6


def test_without_a_seed_files_come_in_their_order():
    slots = Slots(BATCH, NUM, 0, NUM // BATCH, (0, 1))
    assert read(slots, None) == list(range(NUM))


def test_names_of_files_need_not_be_text(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xfc.jpg")
    with open(path, "wb") as file:
        file.write(b"contents")
    split = FileSplit([(os.fsdecode(path), 3)])
    _, _, item = next(iter(split.chunks(Slots(1, 1, 0, 1, (0, 1)))))
    contents, label = split.load((item[0][0], item[1][0]))
    assert (contents, label) == (b"contents", 3)
    assert split.read(0) == (b"contents", 3)


@pytest.mark.parametrize(
    "batch_size, shard, size, begin, chunk",
    [
        (32, (0, 1), 32, 0, 32),
        (33, (0, 1), 33, 0, 11),
        (31, (0, 1), 31, 0, 31),
        (37, (0, 1), 37, 0, 1),
        (12, (1, 2), 6, 6, 6),
        (120, (2, 3), 40, 80, 20),
    ],
)
def test_slots_of_a_worker(batch_size, shard, size, begin, chunk):
    slots = Slots(batch_size, 100, 0, 3, shard)
    assert (slots.size, slots.begin, slots.chunk) == (size, begin, chunk)


@pytest.mark.parametrize("batch, workers", [(4, 1), (4, 2), (4, 4), (10, 1)])
@pytest.mark.parametrize("seed", [None, 3])
def test_positions_are_those_of_the_batches(batch, workers, seed):
    per_epoch = NUM // batch * batch
    split = FileSplit([(f"{i}.jpg", i) for i in range(NUM)])
    of_images = {}
    for worker in range(workers):
        slots = Slots(batch, per_epoch, 2, 5, (worker, workers))
        for positions, indices, _ in split.chunks(slots, seed):
            of_images |= zip(positions.numpy().tolist(), indices.numpy())
    # Of batches 2 to 4, of which some are in later epochs.
    assert sorted(of_images) == list(range(2 * batch, 5 * batch))
    whole = Slots(batch, per_epoch, 0, 5, (0, 1))
    expected = read(whole, seed)
    assert all(expected[i] == image for i, image in of_images.items())
