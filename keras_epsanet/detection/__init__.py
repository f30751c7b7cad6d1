"""What detectors need that neither KerasCV nor KerasHub has."""

from keras_epsanet.detection.drawing import draw, draw_beside

__all__ = ["draw", "draw_beside"]
