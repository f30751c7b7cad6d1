"""Opens ImageNet, or other images, as folders, TFRecords or from TFDS."""

import dataclasses
import os

from keras_epsanet.data.imagenet import splits
from keras_epsanet.data.imagenet.file_split import FileSplit
from keras_epsanet.data.imagenet.record_split import RecordSplit
from keras_epsanet.data.tfds import import_tfds


@dataclasses.dataclass(frozen=True)
class Source:
    """Training and validation images of the same classes.

    Attributes:
        class_names: List of strings.
        train, val: The images of each split.
        left_out: Dictionary from the reasons for which files of a folder are
            not read, such as `".txt"`, to how many there are.
    """

    class_names: list
    train: object
    val: object
    left_out: dict = dataclasses.field(default_factory=dict)

    @property
    def num_train(self):
        """Number of training images."""
        return self.train.num_images

    @property
    def num_val(self):
        """Number of validation images."""
        return self.val.num_images

    @property
    def bad(self):
        """Names of the files that could not be read or decoded so far."""
        return self.train.bad.names + self.val.bad.names


def open_source(path):
    """Opens a data set of training and validation images.

    Args:
        path: One of
            - a folder with the folders `train` and `val`, and in each a
              sub-folder for each class, with JPEG files best of all;
            - a folder that `keras_epsanet.data.imagenet.tfrecords` wrote;
            - `"tfds"` or `"tfds:FOLDER"`, `imagenet2012` of TensorFlow
              Datasets, in its default folder or another.

    Returns:
        An object with the attributes `class_names`, a list of strings,
        `num_train` and `num_val`, the numbers of images, `left_out`, a
        dictionary from the reasons for which files of a folder are not read,
        such as `".txt"`, to how many there are, and `bad`, a list of the
        names of files that could not be decoded, which grows while batches
        are read.

    Raises:
        ValueError: If there is no such data set, or its parts have different
            classes.
        ImportError: If tensorflow-datasets is needed and not installed.

    Example:

    >>> import os, keras
    >>> for name in ("train/pear", "train/fig", "val/pear", "val/fig"):
    ...     os.makedirs(f"fruit/{name}")
    ...     image = keras.ops.zeros((24, 32, 3))
    ...     keras.utils.save_img(f"fruit/{name}/1.jpg", image)
    >>> source = open_source("fruit")
    >>> source.class_names, source.num_train, source.bad
    (['fig', 'pear'], 2, [])
    """
    path = os.fspath(path)
    if path.partition(":")[0] == "tfds":
        return _open_tfds(path.partition(":")[2] or None)
    index = splits.find_index(path)
    if index is not None:
        class_names, files, lengths, blocks = splits.list_shards(path, index)
        parts = (
            RecordSplit(
                files[split], lengths[split], *splits.FEATURES, blocks[split]
            )
            for split in splits.SPLITS
        )
        return Source(class_names, *parts)
    class_names, files, left_out = splits.list_tree(path)
    parts = (FileSplit(files[split]) for split in splits.SPLITS)
    return Source(class_names, *parts, left_out)


def _open_tfds(data_dir):
    tensorflow_datasets = import_tfds()
    builder = tensorflow_datasets.builder("imagenet2012", data_dir=data_dir)
    try:
        # Does nothing where the records are there.
        builder.download_and_prepare()
    except AssertionError as error:
        # It says which archives of ImageNet belong where.
        raise ValueError(f"{error}\nReceived: data_dir={data_dir}") from error
    info = builder.info
    if info.file_format.value != "tfrecord":
        raise ValueError(
            "imagenet2012 must be prepared as TFRecord files. "
            f"Received: {info.file_format.value} in {builder.data_dir}"
        )
    parts = (
        RecordSplit(
            info.splits[name].filepaths,
            info.splits[name].shard_lengths,
            "image",
            "label",
        )
        for name in ("train", "validation")
    )
    return Source(list(info.features["label"].names), *parts)
