"""A network's small colour at the size of its line art, up to the lines and not across them.

Enlarged by itself, colour of 148 x 111 pixels on a page of 2160 x 1620 is a blur 30 pixels wide, and the network's own
lines are a dark halo around the artist's. Here what is near a line is taken from the inside of its own area: confidence
is low beside ink, and an edge-aware recursive filter, whose way ends at ink, carries colour from where it is high
(Gastal and Oliveira 2011, "Domain Transform for Edge-Aware Image and Video Processing", section 6). Half a second for
four megapixels on one core; larger pages are filled at a long side of WORKING_SIDE.
"""

from collections.abc import Sequence

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
    planes = [plane.astype(np.float32) for plane in cv2.split(enlarged)]
    weighed = [*(plane * confidence for plane in planes), confidence]
    *carried, weight = _carried(weighed, (255 - gray).astype(np.float32) / np.float32(255), REACH * scale)
    # Far from lines the network's colour stays as it is.
    sure = np.clip(away / DOUBT - np.float32(0.5), 0, 1)
    results = []
    for plane, sums in zip(planes, carried, strict=True):
        inside = sums / weight
        results.append(np.clip(np.rint(inside + sure * (plane - inside)), 0, 255).astype(np.uint8))
    return np.asarray(cv2.merge(results), np.uint8)


def _carried(planes: Sequence[Floats], ink: Floats, reach: float) -> list[Floats]:
    """Planes, float32 (H, W), smoothed along rows and columns by `reach` px; ink, float32 (H, W) in [0, 1], ends it."""
    way = np.clip(1 - 1.5 * ink, 0, 1)
    for number in range(1, PASSES + 1):
        # Equation 14: the deviation of each pass, so that all together have the one wanted.
        deviation = reach * np.sqrt(3) * 2 ** (PASSES - number) / np.sqrt(4**PASSES - 1)
        feedback = np.float32(np.exp(-np.sqrt(2) / deviation)) * way  # Equation 21
        planes = _along_columns(planes, feedback)
        planes = _transposed(_along_columns(_transposed(planes), feedback.T))
    return list(planes)


def _transposed(planes: Sequence[Floats]) -> list[Floats]:
    return [np.asarray(cv2.transpose(plane), np.float32) for plane in planes]


def _along_columns(planes: Sequence[Floats], feedback: Floats) -> list[Floats]:
    """Equation 21 down each column of (H, W) planes and up again; a pixel takes over of the one before as much as both
    let pass.
    """
    rows = np.stack(planes, axis=1)  # (H, planes, W): what one row needs lies together
    share = np.minimum(feedback[1:], feedback[:-1])[:, None]
    step = np.empty_like(rows[0])
    for before, row, part in zip(rows[:-1], rows[1:], share, strict=True):
        row += np.multiply(part, np.subtract(before, row, out=step), out=step)
    for before, row, part in zip(rows[:0:-1], rows[-2::-1], share[::-1], strict=True):
        row += np.multiply(part, np.subtract(before, row, out=step), out=step)
    return [rows[:, number] for number in range(len(planes))]
