"""XDoG line art: black lines on white from the difference of two Gaussians (Winnemöller et al. 2012).

With the RASC numbers the two Gaussians differ by one part in 10^4 and |D| stays below 1e-4: float64 is needed, one
kernel radius for both (else the difference is that of the truncations), and the threshold at 0 instead of the usual
-0.1, which would leave a blank page.
"""

from dataclasses import dataclass
from hashlib import sha256
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

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


def xdog(gray: npt.NDArray[np.uint8], settings: XDoGSettings) -> npt.NDArray[np.uint8]:
    """Line art of a grey picture: uint8 (H, W) -> uint8 (H, W), black lines on white."""
    response = difference_of_gaussians(gray / 255.0, settings)
    # T(D) = 1 where D >= epsilon, else 1 + tanh(phi (D - epsilon)). Below -4 that is 0 in 8 bits, and tanh is slow.
    exponent = settings.phi * (response - settings.epsilon)
    lines = np.where(exponent < -4.0, 0, 255).astype(np.uint8)
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
