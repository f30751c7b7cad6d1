"""ROIAlign sample by sample, for the tests."""

import numpy as np


def bilinear(features, y, x):
    """One sample, `(C,)`; the middle of the first pixel is at 0."""
    height, width, channels = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(channels)
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    v, u = y - y0, x - x0
    return (
        (1 - v) * (1 - u) * features[y0, x0]
        + (1 - v) * u * features[y0, x1]
        + v * (1 - u) * features[y1, x0]
        + v * u * features[y1, x1]
    )


def expected(features, box, size, scale, ratio):
    """Sample by sample."""
    x1, y1, x2, y2 = (float(n) * scale - 0.5 for n in box)
    bin_h, bin_w = max(y2 - y1, 0) / size, max(x2 - x1, 0) / size
    number_h = ratio or max(1, int(np.ceil(bin_h)))
    number_w = ratio or max(1, int(np.ceil(bin_w)))
    result = np.zeros((size, size, features.shape[-1]))
    for i in range(size):
        for j in range(size):
            samples = [
                bilinear(
                    features,
                    y1 + bin_h * (i + (k + 0.5) / number_h),
                    x1 + bin_w * (j + (m + 0.5) / number_w),
                )
                for k in range(number_h)
                for m in range(number_w)
            ]
            result[i, j] = np.mean(samples, axis=0)
    return result
