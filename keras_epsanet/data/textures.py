"""Textured backgrounds of composed scenes."""

import functools

import numpy as np


@functools.lru_cache
def resizing(side, length=28):
    """Matrix `(side, length)` of linear interpolation with antialiasing."""
    scale = length / side
    centers = (np.arange(side) + 0.5) * scale - 0.5
    distances = np.abs(centers[:, None] - np.arange(length))
    weights = np.maximum(0, 1 - distances / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


def background(random, height, width):
    """Two colors mixed by a texture, `(height, width, 3)`."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    angle = random.uniform(0, np.pi)
    frequency = np.exp(random.uniform(np.log(3), np.log(30)))
    u = frequency * (np.cos(angle) * x + np.sin(angle) * y)
    v = frequency * (np.cos(angle) * y - np.sin(angle) * x)
    texture = [
        lambda: u / frequency,  # A gradient.
        lambda: np.sin(2 * np.pi * u),  # Stripes.
        lambda: np.sign(np.sin(np.pi * u) * np.sin(np.pi * v)),  # Checks.
        lambda: np.sin(u + 3 * _clouds(random, height, width)),  # Veins.
    ][random.integers(4)]()
    texture = texture + random.uniform(0.5, 2) * _clouds(random, height, width)
    texture = texture + random.normal(0, random.uniform(0, 0.5), texture.shape)
    low, high = texture.min(), texture.max()
    texture = (texture - low)[..., None] / (high - low)
    first, second = random.uniform(0, 150, (2, 3))
    return first + (second - first) * texture


def _clouds(random, height, width):
    """Random grids from coarse to fine, added up."""
    total = np.zeros((height, width))
    for cells in (3, 6, 12, 24):
        grid = random.normal(0, 2 / cells**0.5, (cells, cells))
        total += resizing(height, cells) @ grid @ resizing(width, cells).T
    return total
