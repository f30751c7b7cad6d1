"""Labeled images of TensorFlow Datasets."""

import numpy as np


def tfds(name, split, data_dir=None):
    """Labeled images of a dataset in TensorFlow Datasets' catalog.

    Args:
        name: Name of the dataset, such as `"tf_flowers"`.
        split: Part of the dataset, such as `"train"` or `"train[:80%]"`.
        data_dir: Folder where TensorFlow Datasets keeps its files; `None`
            means its default. What is missing there is downloaded.

    Returns:
        A `tf.data.Dataset` of images, uint8 `(height, width, channels)`,
        and classes, int64, with the attributes `class_names`, `num_images`
        and `splits`, the names of all parts. Its order is always the same.

    Raises:
        ValueError: If there is no such dataset or part, or it is not one of
            8-bit images with one class each.
        ImportError: If tensorflow-datasets is not installed.
    """
    tensorflow_datasets = import_tfds()
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        # Its own message lists the whole catalog.
        raise ValueError(
            "`name` must be a dataset of TensorFlow Datasets. "
            f"Received: name={name}"
        ) from error
    image, label = _image_and_label(builder)
    if not (
        isinstance(image, tensorflow_datasets.features.Image)
        and np.dtype(image.np_dtype) == "uint8"
        and isinstance(label, tensorflow_datasets.features.ClassLabel)
    ):
        features = " ".join(str(builder.info.features).split())
        raise ValueError(
            "`name` must be a dataset of 8-bit images with one class each. "
            f"Received: name={name}, whose features are {features}"
        )
    builder.download_and_prepare()
    dataset = builder.as_dataset(split=split, as_supervised=True)
    dataset.class_names = list(label.names)
    dataset.num_images = builder.info.splits[split].num_examples
    dataset.splits = list(builder.info.splits)
    return dataset


def import_tfds():
    """Imports TensorFlow Datasets, or says how to install it."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "Reading TensorFlow Datasets needs tensorflow-datasets: "
            "pip install tensorflow-datasets importlib_resources"
        ) from error
    return tensorflow_datasets


def _image_and_label(builder):
    """Features that the dataset declares as input and target, if a pair."""
    keys = builder.info.supervised_keys
    if not keys or len(keys) != 2 or not all(isinstance(k, str) for k in keys):
        return None, None
    return tuple(builder.info.features[key] for key in keys)
