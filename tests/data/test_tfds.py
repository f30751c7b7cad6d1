import sys

import numpy as np
import pytest

from keras_epsanet import data

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


class Fruits(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Five training and two test images, each of its own size."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    supervised_keys = ("image", "label")
    pixels = np.uint8

    def _info(self):
        features = tensorflow_datasets.features
        return self.dataset_info_from_configs(
            features=features.FeaturesDict(
                {
                    "image": features.Image(
                        shape=(None, None, 3), dtype=self.pixels
                    ),
                    "label": features.ClassLabel(names=["apple", "pear"]),
                }
            ),
            supervised_keys=self.supervised_keys,
        )

    def _split_generators(self, manager):
        return {
            "train": self._generate_examples(5),
            "test": self._generate_examples(2),
        }

    def _generate_examples(self, number):
        for i in range(number):
            image = np.full((4 + i, 9, 3), i, self.pixels)
            yield i, {"image": image, "label": i % 2}


class FruitsWithoutPair(Fruits):
    """Images and labels that are not declared as inputs and targets."""

    VERSION = Fruits.VERSION
    supervised_keys = None


class FruitsInSixteenBits(Fruits):
    """Images of more than 8 bits."""

    VERSION = Fruits.VERSION
    pixels = np.uint16


def test_images_carry_their_class(tmp_path):
    dataset = data.tfds("fruits", "train", data_dir=tmp_path)
    assert dataset.class_names == ["apple", "pear"]
    assert dataset.num_images == 5
    assert dataset.splits == ["train", "test"]
    images, labels = zip(*dataset.as_numpy_iterator())
    assert {(x.shape, x[0, 0, 0] % 2 == y) for x, y in zip(images, labels)} == {
        ((4 + i, 9, 3), True) for i in range(5)
    }
    assert images[0].dtype == "uint8" and labels[0].dtype == "int64"


def test_part_of_a_split(tmp_path):
    dataset = data.tfds("fruits", "train[:60%]", data_dir=tmp_path)
    assert dataset.num_images == len(list(dataset)) == 3


@pytest.mark.parametrize(
    "name", ["fruits_without_pair", "fruits_in_sixteen_bits"]
)
def test_other_than_labeled_images_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"8-bit images.*name={name}"):
        data.tfds(name, "train", data_dir=tmp_path)


def test_unknown_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Datasets. Received: name=figs$"):
        data.tfds("figs", "train", data_dir=tmp_path)


def test_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown split 'val'"):
        data.tfds("fruits", "val", data_dir=tmp_path)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-datasets"):
        data.tfds("fruits", "train")
