"""A network's small colour at the size of its line art, up to the lines and not across them.

Enlarged by itself, colour of 148 x 111 pixels on a page of 2160 x 1620 is a blur 30 pixels wide, and the network's own
lines are a dark halo around the artist's. Here what is near a line is taken from the inside of its own area: confidence
is low beside ink, and an edge-aware recursive filter, whose way ends at ink, carries colour from where it is high
(Gastal and Oliveira 2011, "Domain Transform for Edge-Aware Image and Video Processing", section 6). One second for four
megapixels on one core; larger pages are filled at a long side of WORKING_SIDE.
"""

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.pictures.resize import fitted_size, resize_color

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WORKING_SIDE = 2560  # px, of the long side
INK = 128  # gray below it is line
DOUBT = 1.5  # of the network's pixels: nearer to a line than this, its colour is mixed with the line's
REACH = 6.0  # of the network's pixels: how far colour is carried
PASSES = 2
_LEAST_CONFIDENCE = 1e-4  # so that an area narrower than the doubt still has a colour


def enlarge_color(color: Bytes, gray: Bytes) -> Bytes:
    """uint8 (h, w, 3) -> uint8 (H, W, 3), the size of `gray` (H, W), black lines on white; or averaged."""
    height, width = gray.shape
    working = fitted_size((width, height), WORKING_SIDE, WORKING_SIDE, "contain")
    if working[0] < width:
        small = np.asarray(cv2.resize(gray, working, interpolation=cv2.INTER_AREA), np.uint8)
        return resize_color(enlarge_color(color, small), width, height)
    enlarged = resize_color(color, width, height)
    scale = max(width / color.shape[1], height / color.shape[0])
    if scale <= 1:
        return enlarged
    # In pixels of the network: how far each pixel lies from the next line.
    away = np.asarray(cv2.distanceTransform((gray >= INK).astype(np.uint8), cv2.DIST_L2, 3), np.float32) / scale
    confidence = np.clip(away / DOUBT, 0, 1) ** 2 + np.float32(_LEAST_CONFIDENCE)
    weighed = np.dstack([enlarged * confidence[..., None], confidence]).astype(np.float32)
    carried = _carried(weighed, (255 - gray).astype(np.float32) / np.float32(255), REACH * scale)
    inside = carried[..., :3] / carried[..., 3:]
    # Far from lines the network's colour stays as it is.
    sure = np.clip(away / DOUBT - 0.5, 0, 1)[..., None]
    return np.clip(np.rint(inside + sure * (enlarged - inside)), 0, 255).astype(np.uint8)


def _carried(values: Floats, ink: Floats, reach: float) -> Floats:
    """float32 (H, W, C) smoothed along rows and columns by `reach` px; ink, float32 (H, W) in [0, 1], ends the way."""
    way = np.clip(1 - 1.5 * ink, 0, 1)
    for number in range(1, PASSES + 1):
        # Equation 14: the deviation of each pass, so that all together have the one wanted.
        deviation = reach * np.sqrt(3) * 2 ** (PASSES - number) / np.sqrt(4**PASSES - 1)
        feedback = np.exp(-np.sqrt(2) / deviation)  # Equation 21
        values = _along_columns(values, feedback * way)
        values = _along_columns(values.swapaxes(0, 1), feedback * way.T).swapaxes(0, 1)
    return values


def _along_columns(values: Floats, feedback: Floats) -> Floats:
    """Equation 21 down each column and up again; a pixel takes over of the one before as much as both let pass."""
    carried = np.array(values, np.float32, order="C")
    share = np.minimum(feedback[1:], feedback[:-1])[..., None]
    for row in range(1, len(carried)):
        carried[row] += share[row - 1] * (carried[row - 1] - carried[row])
    for row in range(len(carried) - 2, -1, -1):
        carried[row] += share[row] * (carried[row + 1] - carried[row])
    return carried
