"""A picture bent into a reference for itself: thin-plate spline, flip, rotation and colour jitter (thesis 3.1).

The protocol `deformed-reference` scores with such references (papers 000 and thesis 5.7: the ground truth, deformed).
The papers give no amounts; those here bend clearly while every part stays recognisable. All geometry is one resampling.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator

Points = npt.NDArray[np.float64]  # (N, 2): x, y in [-1, 1] from side to side
LATTICE = 33  # the smooth warp is computed on so many points a side and interpolated between them
WHITE = 255


@dataclass(frozen=True)
class DeformationSettings:
    """Amounts are upper ends of uniform distributions around "unchanged"; zero turns a part off."""

    grid: int = 4  # control points a side
    bend: float = 0.08  # displacement of a control point, in shares of the side
    flip: float = 0.0  # probability of a mirror image
    rotation: float = 0.0  # degrees
    brightness: float = 0.0  # relative
    contrast: float = 0.0  # relative, around the mean grey
    saturation: float = 0.0  # relative
    hue: float = 0.0  # in turns of the colour circle

    def __post_init__(self) -> None:
        if self.grid < 2:
            raise ValueError(f"grid must be at least 2, got {self.grid}")
        for name in ("bend", "flip", "rotation", "brightness", "contrast", "saturation", "hue"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


# All of the augmentation of thesis 3.1, for GAN stages.
FULL = DeformationSettings(flip=0.5, rotation=15.0, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02)


def deform(
    rgb: npt.NDArray[np.uint8], rng: np.random.Generator, settings: DeformationSettings
) -> npt.NDArray[np.uint8]:
    """The bent picture, uint8 (H, W, 3) of the same size; what comes from outside the picture is white."""
    shift = rng.uniform(-2 * settings.bend, 2 * settings.bend, (settings.grid**2, 2))
    mirrored = rng.random() < settings.flip
    angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
    amounts = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
    brightness, contrast, saturation, turn = (rng.uniform(-1, 1, 4) * amounts).tolist()
    colored = jitter(rgb, 1 + brightness, 1 + contrast, 1 + saturation, turn)
    return resample(colored, thin_plate_spline(shift, settings.grid), angle, bool(mirrored))


def jitter(
    rgb: npt.NDArray[np.uint8], brightness: float, contrast: float, saturation: float, turn: float
) -> npt.NDArray[np.uint8]:
    """Colours scaled: in brightness, around the mean grey, around each pixel's grey; hue turned by `turn` circles."""
    if (brightness, contrast, saturation, turn) == (1, 1, 1, 0):
        return rgb
    hsv = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
    turned = brightness * np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.float32)
    gray = cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY)[..., None]
    mean = gray.mean()
    mixed = mean + contrast * (gray + saturation * (turned - gray) - mean)
    return np.rint(np.clip(mixed, 0, 1) * 255).astype(np.uint8)


def thin_plate_spline(shift: Points, grid: int) -> Points:
    """Displacements of a square LATTICE of points, (LATTICE, LATTICE, 2), that pass through `shift` at grid^2 points.

    Thin plate: radial basis r^2 log r with an affine part, the least bending of all such surfaces (Bookstein 1989).
    """
    spline = RBFInterpolator(_square(grid), shift, kernel="thin_plate_spline", degree=1)
    return np.asarray(spline(_square(LATTICE))).reshape(LATTICE, LATTICE, 2)


def resample(rgb: npt.NDArray[np.uint8], shift: Points, angle: float, mirrored: bool) -> npt.NDArray[np.uint8]:
    """Each pixel from where the shift, then the rotation (radians), then the mirror lead it; white beyond the sides."""
    height, width = rgb.shape[:2]
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    bent = (np.stack([across, down], axis=-1) + _spread(shift, width, height)) * half
    turned = bent @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = np.moveaxis(turned * (-1 if mirrored else 1, 1) + half, -1, 0).astype(np.float32)
    # Replicated first, then cut: bicubic weights across a jump to white would leave a dark halo.
    picture = np.asarray(cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)
    picture[(x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)] = WHITE
    return picture


def _spread(shift: Points, width: int, height: int) -> Points:
    """The lattice's displacements at every pixel, (height, width, 2); corner lies on corner."""
    across, down = np.meshgrid(np.linspace(0, LATTICE - 1, width), np.linspace(0, LATTICE - 1, height))
    spread = cv2.remap(shift.astype(np.float32), across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(spread, dtype=np.float64)


def _square(side: int) -> Points:
    """side x side points over [-1, 1]^2, row by row."""
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    return np.stack([across.ravel(), down.ravel()], axis=-1)
