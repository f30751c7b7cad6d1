import numpy as np
import pytest

from keras_epsanet.explain.score_cam import weigh_channels


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_channel_weighs_the_score_of_what_it_leaves_visible(data_format):
    images = np.zeros((1, 4, 6, 1))
    images[0, :, :3] = 5  # The left half speaks for the class 1.
    activations = np.zeros((1, 2, 2, 3))
    activations[0, :, 0, 0] = 1  # Sees the left,
    activations[0, :, 1, 1] = 1  # the right,
    activations[0, ..., 2] = 7  # and one that is everywhere the same.
    seen = []

    def run(batch):
        if data_format == "channels_first":
            batch = np.moveaxis(batch, 1, -1)
        seen.append(batch)
        scores = batch.sum((1, 2, 3)) / 20
        return np.stack([0 * scores, scores], -1)

    if data_format == "channels_first":
        images = np.moveaxis(images, -1, 1)
    weights = weigh_channels(run, images, activations, [1], data_format)
    hidden = np.concatenate(seen)
    # From the left to the right corner the mask falls from 1 to 0.
    mask = 1 - np.arange(6) / 5
    np.testing.assert_allclose(hidden[0, 0, :3, 0], 5 * mask[:3], atol=1e-5)
    scores = np.array([hidden[i].sum() / 20 for i in range(3)])
    assert scores[0] > scores[1] > scores[2] == 0
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(weights, [expected], atol=1e-5)


def test_many_channels_are_run_in_parts():
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        return np.zeros((len(batch), 1))

    images = np.ones((2, 4, 4, 1))
    activations = np.random.default_rng(0).normal(size=(2, 2, 2, 20))
    weights = weigh_channels(run, images, activations, [0, 0], "channels_last")
    assert sizes == [16, 4, 16, 4]
    np.testing.assert_allclose(weights, 1 / 20)
