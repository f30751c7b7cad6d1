import keras
import numpy as np
import pytest

from keras_epsanet.data import coco

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


@pytest.fixture
def load(coco_annotations):
    def make(*arguments, number=None, **options):
        dataset = coco.load(
            coco_annotations, *arguments, image_size=(40, 60), **options
        )
        return [
            {name: x.numpy() for name, x in batch.items()}
            for batch in (dataset if number is None else dataset.take(number))
        ]

    return make


def assert_parts_of(whole, parts):
    """Compares batches with the parts of two workers, put together again."""
    for i, batch in enumerate(whole):
        halves = [part[i] for part in parts if i < len(part)]
        for name, expected in batch.items():
            ours = np.concatenate([half[name] for half in halves])
            np.testing.assert_array_equal(ours, expected, err_msg=name)


@pytest.mark.parametrize(
    "augmentation",
    [None, coco.Augmentation(crop=True, least_image_size=20)],
    ids=["plain", "augmented"],
)
def test_workers_have_the_parts_of_batches_padded_alike(load, augmentation):
    options = {"training": True, "augmentation": augmentation, "pad_to": 1}
    whole = load(4, number=6, first_step=2, **options)
    parts = [
        load(4, number=6, first_step=2, shard=(i, 2), **options) for i in (0, 1)
    ]
    assert_parts_of(whole, parts)
    # Some are padded further than their own images ask for.
    assert any(
        tuple(batch["image_size"].max(axis=0)) != batch["images"].shape[1:3]
        for batch in parts[0] + parts[1]
    )


def test_workers_evaluate_every_image_once_in_whole_batches(load):
    whole = load(4, pad_to=1)
    parts = [load(4, pad_to=1, shard=(i, 2)) for i in (0, 1)]
    # Of five images the last is a batch of its own.
    assert [len(part) for part in parts] == [2, 1]
    assert_parts_of(whole, parts)
    assert_parts_of(whole[1:], [load(4, pad_to=1, shard=(0, 2), first_step=1)])
    assert load(4, shard=(1, 2), first_step=1) == []


def test_a_function_of_ones_own_is_not_asked_for_sizes(load):
    asked = []

    def function(image, boxes, labels, masks, random):
        asked.append(image.any())
        return image, boxes, labels, masks

    augmentation = coco.Augmentation(function=function)
    load(4, number=3, training=True, augmentation=augmentation, shard=(0, 2))
    assert asked and all(asked)
