"""Pixels as a network sees them and back: colours in [-1, 1], masks in [0, 1], channels first."""

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.pictures.resize import Bytes

Floats = npt.NDArray[np.float32]
# The 256 levels of a picture as the model sees them: a table look-up, since arithmetic on whole pictures is slower and
# holds up the other threads.
LEVELS = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)


def model_image(rgb: Bytes) -> Floats:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [-1, 1]."""
    image = np.empty((3, *rgb.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(rgb)):
        cv2.LUT(plane, LEVELS, dst=image[channel])
    return image


def from_model_image(image: Floats) -> Bytes:
    """float32 (3, H, W), clipped to [-1, 1] -> uint8 (H, W, 3); the inverse of `model_image`."""
    levels = np.rint((np.clip(image, -1, 1) + 1) * 127.5)
    return np.ascontiguousarray(levels.transpose(1, 2, 0)).astype(np.uint8)


def model_mask(mask: Bytes) -> Floats:
    """uint8 (H, W), white = foreground -> float32 (1, H, W) in [0, 1], 1 = foreground."""
    return (mask.astype(np.float32) / np.float32(255))[None]
