"""Good, odd and bad images in batches."""

import keras
import numpy as np
import pytest

from keras_epsanet.data.imagenet import decoding
from keras_epsanet.data.imagenet.file_split import FileSplit, Slots

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

NUM = 6


def encode(number, kind="jpeg"):
    """An image of one pixel that tells the number."""
    pixel = tf.fill((1, 1, 3), tf.cast(10 * number, "uint8"))
    if kind == "png":
        return tf.io.encode_png(pixel).numpy()
    return tf.io.encode_jpeg(pixel, quality=100).numpy()


@pytest.fixture
def make_split(tmp_path):
    """Function that makes a split, some of whose files are odd."""

    def make(contents=None):
        for i in range(NUM):
            content = (contents or {}).get(i, encode(i))
            if content is not None:
                (tmp_path / f"{i}.jpg").write_bytes(content)
        return FileSplit([(str(tmp_path / f"{i}.jpg"), i) for i in range(NUM)])

    return make


def read(split, seed=None, size=3, per_epoch=NUM, last=2):
    """Numbers by the pixels, labels, weights, positions and image numbers."""

    def prepare(encoded, position, index):
        image = tf.io.decode_jpeg(encoded, channels=3)
        value = tf.cast(tf.round(image[0, 0, 0] / 10), "int64")
        return tf.stack((value, position, index))

    slots = Slots(size, per_epoch, 0, last, (0, 1))
    batches = decoding.decoded_batches(split, slots, prepare, seed)
    images, labels, weights = map(
        np.concatenate, zip(*batches.as_numpy_iterator())
    )
    assert (labels.dtype, weights.dtype) == ("int64", "float32")
    return *images.T.tolist(), labels.tolist(), weights.tolist()


def test_images_carry_their_label_position_and_number(make_split):
    numbers, positions, indices, labels, weights = read(make_split())
    assert numbers == indices == labels == positions == list(range(NUM))
    assert weights == NUM * [1]
    mixed = read(make_split(), seed=1, size=2, last=6)
    assert mixed[0] == mixed[2] == mixed[3] and mixed[4] == 2 * NUM * [1]
    assert mixed[1] == list(range(2 * NUM))
    assert sorted(mixed[0][:NUM]) == list(range(NUM)) != mixed[0][:NUM]


def test_what_fills_up_the_last_batch_has_weight_0(make_split):
    # Of five images in batches of three.
    *_, labels, weights = read(make_split(), per_epoch=5)
    assert labels == [0, 1, 2, 3, 4, 0] and weights == [1] * 5 + [0]


@pytest.mark.parametrize("content", [None, b"", b"no image"])
@pytest.mark.filterwarnings("ignore:An image is skipped")
def test_in_the_order_of_the_files_a_bad_one_has_weight_0(make_split, content):
    split = make_split({1: content, 4: encode(4, "png")})
    numbers, positions, _, labels, weights = read(split)
    assert weights == [1, 0, 1, 1, 1, 1]
    assert labels == [0, 0, 2, 3, 4, 5] == numbers
    assert positions == list(range(NUM))
    assert [name[-5:] for name in split.bad.names] == ["1.jpg"]


@pytest.mark.filterwarnings("ignore:An image is skipped")
def test_in_a_random_order_the_next_one_takes_its_place(make_split):
    split = make_split({1: b"", 4: b"no image", 5: None})
    # The number stays, for its randomness is of the place.
    numbers, positions, indices, labels, weights = read(split, seed=0)
    assert sorted(indices) == list(range(NUM)) and weights == NUM * [1]
    following = {1: 2, 4: 0, 5: 0}
    assert numbers == labels == [following.get(i, i) for i in indices]
    assert len(split.bad.names) == 3


@pytest.mark.filterwarnings("ignore:An image is skipped")
@pytest.mark.parametrize("bad, fits", [(2, True), (3, False)])
def test_too_many_bad_ones_in_a_row_are_an_error(
    make_split, monkeypatch, bad, fits
):
    monkeypatch.setattr(decoding, "ATTEMPTS", 3)
    split = make_split({i: b"" for i in range(1, 1 + bad)})
    if fits:
        contents, label, good = decoding._repair(split, 1, replace=True)
        assert (contents, label, good) == (encode(3), 3, True)
    else:
        message = f"3 images in a row are bad, up to .*{bad}.jpg"
        with pytest.raises(ValueError, match=message):
            decoding._repair(split, 1, replace=True)


def test_images_of_other_formats_are_decoded_for_what_they_are(make_split):
    contents, label, good = decoding._repair(
        make_split({2: encode(2, "png")}), 2, replace=False
    )
    assert contents[:3] == b"\xff\xd8\xff" and (label, good) == (2, True)


def test_what_cannot_be_read_is_named_with_the_reason(make_split):
    with pytest.warns(UserWarning, match="2.jpg cannot be read: .*No such"):
        found = decoding._repair(make_split({2: None}), 2, replace=False)
    assert found[1:] == (0, False)
    assert tf.io.decode_jpeg(found[0]).shape == (1, 1, 3)
