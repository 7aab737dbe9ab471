"""XDoG line art: black lines on white from the difference of two Gaussians (Winnemöller et al. 2012).

With the RASC numbers the two Gaussians differ by one part in 10^4 and |D| stays below 1e-4: float64 is needed, one
kernel radius for both (else the difference is that of the truncations), and the threshold at 0 instead of the usual
-0.1, which would leave a blank page.

Sigma counts pixels, so at a scan's own size lines are hairs, soft edges vanish, and the blocks of a JPEG are drawn in
their place. Larger pictures are therefore filtered at a long side of 1,024 pixels. It is the smooth difference D that
is brought back to the picture's size, and the threshold that is taken there: lines keep their width in the picture and
have smooth, sharp sides, where scaled pixels would have stairs.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256
from math import ceil
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.pictures.resize import fitted_size

LONG_SIDE = 1024  # px: larger pictures are filtered at this long side
RASC_SIGMAS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class XDoGSettings:
    """sigma in pixels. The defaults are the RASC numbers; `phi` and `epsilon`, which it omits, make lines binary."""

    sigma: float = 0.6
    tau: float = 0.999997
    kappa: float = 1.0001
    epsilon: float = 0.0
    phi: float = 1e12

    def __post_init__(self) -> None:
        if self.sigma <= 0 or self.kappa <= 1:
            raise ValueError(f"sigma must be above 0 and kappa above 1, got {self.sigma} and {self.kappa}")


@dataclass(frozen=True)
class XDoGColumns:
    """How a corpus draws its sketches by XDoG.

    sigma, in pixels of the picture as it is filtered, is that of every row; 0 draws one of RASC's six for each row.
    It and tau, kappa, epsilon and phi are the numbers of `xdog`; `xdog_common` has its own (`COMMON`). long_side, in
    pixels, acts on both: larger pictures are filtered at that size; 0 filters all at their own size.
    """

    sigma: float = 0.0
    tau: float = XDoGSettings.tau
    kappa: float = XDoGSettings.kappa
    epsilon: float = XDoGSettings.epsilon
    phi: float = XDoGSettings.phi
    long_side: int = LONG_SIDE

    def __post_init__(self) -> None:
        if self.sigma < 0 or self.kappa <= 1:
            raise ValueError(f"sigma must be at least 0 and kappa above 1, got {self.sigma} and {self.kappa}")
        if self.long_side and self.long_side < 64:
            raise ValueError(f"long_side is 0 or at least 64 pixels, got {self.long_side}")

    def numbers(self, row_id: str, seed: int) -> XDoGSettings:
        """The numbers of a row's `xdog`."""
        sigma = self.sigma or draw_sigma(row_id, seed)
        return XDoGSettings(sigma, self.tau, self.kappa, self.epsilon, self.phi)

    def described(self, seed: int) -> dict[str, Any]:
        """What decides the sketches of `xdog`."""
        numbers = {name: value for name, value in asdict(self).items() if name not in ("sigma", "long_side")}
        return numbers | ({"sigma": self.sigma} if self.sigma else {"seed": seed}) | self.size_described()

    def size_described(self) -> dict[str, Any]:
        """What decides the sketches of either style; nothing where all are filtered at their own size."""
        return {"long_side": self.long_side} if self.long_side else {}


# The setting that line-art colorization repositories share, by sigma: thicker lines, dark areas kept as solid black.
COMMON = {sigma: XDoGSettings(sigma=sigma, tau=0.95, kappa=4.5, epsilon=-0.1, phi=1e9) for sigma in (0.3, 0.4, 0.5)}


def draw_sigma(row_id: str, seed: int) -> float:
    """The sigma of a row, one of RASC's six with equal chances; it depends on the row and the seed alone."""
    return RASC_SIGMAS[_drawn(row_id, seed) % len(RASC_SIGMAS)]


def draw_common(row_id: str, seed: int) -> XDoGSettings:
    """One of the common settings with equal chances; it depends on the row and the seed alone."""
    return tuple(COMMON.values())[_drawn(row_id, seed) % len(COMMON)]


def _drawn(row_id: str, seed: int) -> int:
    return int.from_bytes(sha256(f"{seed}:{row_id}".encode()).digest()[:8], "big")


def xdog(gray: npt.NDArray[np.uint8], settings: XDoGSettings, long_side: int = 0) -> npt.NDArray[np.uint8]:
    """Line art of a grey picture: uint8 (H, W) -> uint8 (H, W), black lines on white.

    A picture whose long side has more than `long_side` pixels is filtered at that size; 0: each at its own.
    """
    height, width = gray.shape
    if long_side and max(height, width) > long_side:
        small = fitted_size((width, height), long_side, long_side, "contain")
        # In floats: rounded to 8 bits, slopes have steps, which are lines to RASC's numbers.
        shrunk = cv2.resize(gray.astype(np.float32), small, interpolation=cv2.INTER_AREA).astype(np.float64)
        response = difference_of_gaussians(shrunk / 255.0, settings)
        # Linear, since what overshoots beside a line falls below the threshold and is a second line.
        full = cv2.resize(response, (width, height), interpolation=cv2.INTER_LINEAR)
        return _thresholded(np.asarray(full, np.float64), settings)
    return _thresholded(difference_of_gaussians(gray / 255.0, settings), settings)


def _thresholded(response: npt.NDArray[np.float64], settings: XDoGSettings) -> npt.NDArray[np.uint8]:
    """T(D) = 1 where D >= epsilon, else 1 + tanh(phi (D - epsilon)), in 8 bits."""
    exponent = settings.phi * (response - settings.epsilon)
    lines = np.where(exponent < -4.0, 0, 255).astype(np.uint8)  # below -4 it is 0 in 8 bits, and tanh is slow
    soft = (exponent >= -4.0) & (exponent < 0.0)
    lines[soft] = np.rint((1.0 + np.tanh(exponent[soft])) * 255.0)
    return lines


def difference_of_gaussians(gray: npt.NDArray[np.float64], settings: XDoGSettings) -> npt.NDArray[np.float64]:
    """D = G(sigma) - tau G(kappa sigma), float64 (H, W), borders replicated."""
    radius = ceil(4 * settings.kappa * settings.sigma)
    narrow = _gaussian_blur(gray, settings.sigma, radius)
    wide = _gaussian_blur(gray, settings.kappa * settings.sigma, radius)
    return narrow - settings.tau * wide


def _gaussian_blur(gray: npt.NDArray[np.float64], sigma: float, radius: int) -> npt.NDArray[np.float64]:
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = weights / weights.sum()
    blurred = cv2.sepFilter2D(gray, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float64)
