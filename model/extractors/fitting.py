"""Pictures to the sizes that networks take, and their output back to the picture's size."""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from model.extractors.convention import Picture

Plane = npt.NDArray[np.float32]  # (H, W)


def gray(picture: Picture) -> Picture:
    """Luma (H, W) of RGB (H, W, 3); line art as it is."""
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def rgb(picture: Picture) -> Picture:
    """RGB (H, W, 3) as it is; line art (H, W) three times."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def pad(picture: Picture, multiple: int = 1, least: int = 1, fill: int | None = None) -> Picture:
    """`picture` grown at the right and the bottom to sides that are multiples of `multiple` and at least `least`.

    New pixels repeat the border, or have the value `fill`. Any size from 1x1 up.
    """
    height, width = picture.shape[:2]
    below, right = (-(-max(side, least) // multiple) * multiple - side for side in (height, width))
    if not below and not right:
        return picture
    if fill is None:
        return cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]
    return np.pad(picture, ((0, below), (0, right), *((0, 0),) * (picture.ndim - 2)), constant_values=fill)


def planes(picture: Picture, scale: float = 1.0) -> npt.NDArray[np.float32]:
    """(H, W) or (H, W, C) uint8 -> (C, H, W) float32, times `scale`."""
    stacked = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return np.multiply(stacked, np.float32(scale), dtype=np.float32, order="C")


def squash(picture: Picture, height: int, width: int) -> Picture:
    """`picture` at (height, width), bicubic with antialiasing as Pillow and torchvision have it."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def unsquash(plane: Plane, size: tuple[int, int]) -> Plane:
    """A plane of a network's output at the picture's (H, W) again, bicubic with antialiasing."""
    if plane.shape == size:
        return plane
    return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC))
