"""The polarity of sketches, which changes here and nowhere else, in both directions.

On disk and for people lines are black on white; in the model the background is -1 and lines are +1.
"""

import cv2
import numpy as np

from dataprep.pictures.resize import Bytes
from dataprep.samples.values import LEVELS, Floats, from_model_image


def model_sketch(gray: Bytes) -> Floats:
    """Black lines on white, uint8 (H, W) -> lines +1 on -1, float32 (3, H, W)."""
    image = np.empty((3, *gray.shape), np.float32)
    image[:] = cv2.LUT(gray, -LEVELS)
    return image


def from_model_sketch(sketch: Floats) -> Bytes:
    """Lines +1 on -1, float32 (3, H, W), clipped -> black lines on white, uint8 (H, W); undoes `model_sketch`."""
    return from_model_image(-sketch[:1])[..., 0]
