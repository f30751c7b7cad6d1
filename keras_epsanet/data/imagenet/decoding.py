"""Images decoded in parallel, where a bad file stops nothing."""

from keras_epsanet.data.bad_images import ATTEMPTS, as_jpeg
from keras_epsanet.data.file_names import printable


def decoded_batches(split, slots, prepare, seed=None):
    """Reads, decodes and batches the images of a split.

    What is no JPEG is decoded too. A bad image is replaced by the next one,
    or, when they come in the order of the files, has weight 0.

    Args:
        split: `FileSplit` or `RecordSplit`.
        slots: `Slots`.
        prepare: Function from the bytes of a JPEG, the position in the
            sequence and the number of the image to an image of fixed shape.
        seed: Integer; `None` for the order of the files.

    Returns:
        A `tf.data.Dataset` of images, labels, int64, and weights, float32,
        all `(slots.size, ...)`.
    """
    import tensorflow as tf

    def decode_chunk(positions, indices, items):
        def decode(k):
            encoded, label = split.load(tuple(x[k] for x in items))
            return prepare(encoded, positions[k], indices[k]), label, True

        def decode_repaired(k):
            encoded, label, good = _read_again(split, indices[k], seed)
            return prepare(encoded, positions[k], indices[k]), label, good

        def decode_carefully(k):
            one = tf.data.Dataset.from_tensors(k)
            return _first(
                one.map(decode).ignore_errors(), one.map(decode_repaired)
            )

        # Of the first an error leaves less than a batch, that is nothing.
        # Many images together, for a dataset costs as much as reading one.
        numbers = tf.data.Dataset.range(slots.chunk)
        images, labels, good = _first(
            *(
                dataset.batch(slots.chunk, drop_remainder=True)
                for dataset in (
                    numbers.map(decode).ignore_errors(),
                    numbers.map(decode_carefully),
                )
            )
        )
        if seed is None:
            # The last batch is filled up with images of a second epoch.
            good &= positions < slots.per_epoch
        return images, labels, tf.cast(good, "float32")

    def join(*chunks):
        return tuple(tf.reshape(x, (-1, *x.shape[2:])) for x in chunks)

    return (
        split.chunks(slots, seed)
        .map(
            decode_chunk,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(slots.size // slots.chunk, drop_remainder=True)
        .map(join)
    )


def _first(dataset, other):
    """The only element of a dataset, or if it has none of the other."""
    return dataset.concatenate(other).take(1).get_single_element()


def _read_again(split, index, seed):
    """Bytes of a JPEG, the class, and whether there was one, in the graph."""
    import tensorflow as tf

    def repair(index):
        return _repair(split, int(index), replace=seed is not None)

    found = tf.numpy_function(repair, [index], ["string", "int64", "bool"])
    for x in found:
        x.set_shape(())
    return found


def _repair(split, index, replace):
    """Bytes of a JPEG, the class, and whether there was one, in Python."""
    import numpy as np
    import tensorflow as tf

    for number in range(index, index + (ATTEMPTS if replace else 1)):
        number %= split.num_images
        name = split.name(number)
        try:
            contents, label = split.read(number)
        except (OSError, ValueError, tf.errors.OpError) as error:
            split.bad.add(name, f"{printable(name)} cannot be read: {error}")
            continue
        try:
            return as_jpeg(contents, name), label, np.True_
        except ValueError as error:
            split.bad.add(name, error)
    if replace:
        raise ValueError(f"{ATTEMPTS} images in a row are bad, up to {name}")
    nothing = tf.io.encode_jpeg(np.zeros((1, 1, 3), "uint8")).numpy()
    return nothing, np.int64(0), np.False_
