import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection.subsampler import random_keys, sample


def run(objects, background, number, max_objects, boxes=100, seed=0):
    """Flags in a random order, and what is chosen of them."""
    kinds = np.array([1] * objects + [0] * background)
    kinds = np.concatenate((kinds, np.full(boxes - len(kinds), -1)))
    kinds = np.random.default_rng(seed).permutation(kinds)[None]
    indices, chosen = sample(
        ops.array(kinds == 1),
        ops.array(kinds == 0),
        number,
        max_objects,
        random_keys((1, boxes), keras.random.SeedGenerator(seed)),
    )
    indices, chosen = map(ops.convert_to_numpy, (indices, chosen))
    assert len(set(indices[0])) == indices.shape[1] == min(number, boxes)
    return kinds[0, indices[0]], chosen[0], indices[0]


@pytest.mark.parametrize(
    "objects, background, of_objects, of_background",
    [
        (3, 90, 3, 13),  # Background makes up the number.
        (50, 50, 4, 12),
        (50, 5, 4, 5),  # Not more objects than allowed.
        (0, 100, 0, 16),
        (100, 0, 4, 0),
        (0, 0, 0, 0),
    ],
)
def test_numbers(objects, background, of_objects, of_background):
    kinds, chosen, _ = run(objects, background, 16, 4)
    assert chosen.sum() == of_objects + of_background
    assert np.all(kinds[:of_objects] == 1)
    assert np.all(kinds[of_objects : chosen.sum()] == 0)
    assert np.all(chosen[: chosen.sum()])


def test_less_boxes_than_samples():
    kinds, chosen, _ = run(2, 3, 16, 4, boxes=6)
    assert len(kinds) == 6 and chosen.sum() == 5


def test_every_box_is_chosen_as_often():
    times = np.zeros(100)
    for seed in range(300):
        kinds = np.arange(100) < 50
        indices, _ = sample(
            ops.array(kinds[None]),
            ops.array(~kinds[None]),
            16,
            4,
            random_keys((1, 100), keras.random.SeedGenerator(seed)),
        )
        times[ops.convert_to_numpy(indices)[0]] += 1
    # 300 times 4 of 50, and 12 of 50; five standard deviations.
    assert abs(times[:50] - 24).max() < 24
    assert abs(times[50:] - 72).max() < 38


def test_the_choice_changes_from_step_to_step():
    seed = keras.random.SeedGenerator(0)
    flags = ops.array(np.arange(100)[None] < 50)
    first, second = (
        ops.convert_to_numpy(sample(flags, ~flags, 16, 4, keys)[0])
        for keys in (random_keys((1, 100), seed) for _ in range(2))
    )
    assert set(first[0]) != set(second[0])


SAMPLED = """
import keras, tensorflow as tf
from keras_epsanet.detection import subsampler

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    2 * [tf.config.LogicalDeviceConfiguration()],
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    seed = keras.random.SeedGenerator(5)

@tf.function
def draw():
    return strategy.run(lambda: subsampler.random_keys((2, 7), seed))

alone = keras.random.SeedGenerator(5)
for _ in range(2):
    parts = strategy.experimental_local_results(draw())
    keys = subsampler.random_keys((4, 7), alone)
    print(bool(tf.reduce_all(tf.concat(parts, 0) == keys)))
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_the_choice_in_an_image_is_the_same_on_every_device(run_python):
    assert run_python(SAMPLED).split() == ["True", "True"]
