"""Score-CAM: channels count as much as the score of what they leave visible."""

import numpy as np

from keras_epsanet.explain.map_sizes import resize

_AT_A_TIME = 16


def weigh_channels(run, images, activations, classes, data_format):
    """Weighs each channel by the score of the image where it is active.

    Args:
        run: Function from images to scores `(N, classes)`.
        images: Array `(N, H, W, C)`, or as `data_format` says.
        activations: Float array `(N, h, w, channels)`.
        classes: Integer array `(N,)`.
        data_format: `"channels_last"` or `"channels_first"`, of the images.

    Returns:
        Float32 array `(N, channels)`, 1 in sum for each image.

    Reference: [Wang et al., 2020](https://arxiv.org/abs/1910.01279),
    equations 4 to 8.
    """
    is_last = data_format == "channels_last"
    size = images.shape[1:3] if is_last else images.shape[2:]
    weights = []
    for image, maps, wanted in zip(images, activations, classes):
        maps, scores = np.moveaxis(maps, -1, 0), []
        for start in range(0, len(maps), _AT_A_TIME):
            masks = _masks(maps[start : start + _AT_A_TIME], size)
            masks = masks[..., None] if is_last else masks[:, None]
            scores.append(run(image * masks)[:, wanted])
        weights.append(_softmax(np.concatenate(scores)))
    return np.stack(weights)


def _masks(maps, size):
    maps = resize(maps, size, align_corners=True)
    low, high = (
        extreme(axis=(1, 2), keepdims=True) for extreme in (maps.min, maps.max)
    )
    return (maps - low) / (high - low + 1e-8)


def _softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()
