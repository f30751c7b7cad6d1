"""Makes `fashion_mnist.npz` from the original files of Fashion-MNIST.

    python tools/make_fashion_mnist.py SOURCE_FOLDER

SOURCE_FOLDER holds the four files `train-images-idx3-ubyte.gz`,
`train-labels-idx1-ubyte.gz`, `t10k-images-idx3-ubyte.gz` and
`t10k-labels-idx1-ubyte.gz` of
https://github.com/zalandoresearch/fashion-mnist. The same files always make
the same bytes.
"""

import argparse
import gzip
import os
import sys

import numpy as np

from keras_epsanet.atomic import whole
from keras_epsanet.data.fashion_mnist import CLASS_NAMES, FILE

IMAGES_PER_CLASS = {"train": 1000, "test": 200}
_PREFIXES = {"train": "train", "test": "t10k"}


def make_fashion_mnist(source, path, images_per_class=IMAGES_PER_CLASS):
    """Writes the first images of every class, in the order of the source.

    Args:
        source: Folder with the four original files.
        path: Path of the `.npz` file to write.
        images_per_class: Dictionary from `"train"` and `"test"` to the
            number of images of each class.

    Raises:
        ValueError: If a file is missing, damaged or not what its name says,
            or has too few images of a class.
    """
    arrays = {}
    for split, count in images_per_class.items():
        prefix = os.path.join(source, _PREFIXES[split])
        images = read_idx(f"{prefix}-images-idx3-ubyte.gz", dimensions=3)
        labels = read_idx(f"{prefix}-labels-idx1-ubyte.gz", dimensions=1)
        if len(images) != len(labels):
            raise ValueError(
                f"{prefix}-*.gz must have as many images as labels. "
                f"Received: {len(images)} images, {len(labels)} labels"
            )
        chosen = _first_of_every_class(labels, count, prefix)
        arrays[f"{split}_images"] = images[chosen][..., None]
        arrays[f"{split}_labels"] = labels[chosen]
    with whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_idx(path, dimensions):
    """Reads a gzip-compressed IDX file of bytes.

    Args:
        path: Path of the file.
        dimensions: Integer, number of dimensions that it must have.

    Returns:
        A uint8 array.

    Raises:
        ValueError: If the file is missing, damaged or of another kind.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    # Two zeros, the type (8 is uint8), the number of dimensions, the sizes.
    sizes = np.frombuffer(content[4 : 4 + 4 * dimensions], ">u4")
    values = np.frombuffer(content[4 + 4 * dimensions :], "uint8")
    if content[:4] != bytes((0, 0, 8, dimensions)) or values.size != np.prod(
        sizes, dtype="int64"
    ):
        raise ValueError(
            f"{path} is damaged or not an IDX file of bytes with "
            f"{dimensions} dimensions"
        )
    return values.reshape(sizes)


def _first_of_every_class(labels, count, prefix):
    """Positions of the first `count` images of every class, ascending."""
    positions = []
    for label, name in enumerate(CLASS_NAMES):
        found = np.flatnonzero(labels == label)[:count]
        if len(found) < count:
            raise ValueError(
                f"{prefix}-*.gz must have at least {count} images of "
                f"{name}. Received: {len(found)}"
            )
        positions.append(found)
    return np.sort(np.concatenate(positions))


def main():
    parser = argparse.ArgumentParser(
        description="Makes the Fashion-MNIST file of keras_epsanet."
    )
    parser.add_argument("source", help="folder with the four original files")
    args = parser.parse_args()
    try:
        make_fashion_mnist(args.source, FILE)
    except ValueError as error:
        sys.exit(f"make_fashion_mnist: {error}")
    print(f"{FILE}: {os.path.getsize(FILE):,} bytes")


if __name__ == "__main__":
    main()
