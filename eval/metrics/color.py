"""sRGB to CIE Lab (D65, 2° observer) and the mean colour distance between pictures (CIE76 ΔE*ab).

In Lab a distance means about the same to the eye anywhere, so it says which of two colourings a result is nearer to.
About 2.3 is just noticeable. Constants: IEC 61966-2-1 for sRGB, CIE 15 for Lab.
"""

import torch
from torch import Tensor

from eval.metrics.pictures import check_pictures

XYZ_FROM_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
EPSILON = (6 / 29) ** 3


def _linear(srgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _cube_root(t: Tensor) -> Tensor:
    """f(t) of CIE 15: the cube root, and its tangent near black."""
    return torch.where(t > EPSILON, t.clamp(min=EPSILON) ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Lab of sRGB pictures: (B, 3, H, W) in [0, 1] -> (B, 3, H, W) with L in [0, 100], a and b around [-110, 110].

    The white point is the matrix's own white (D65), so that greys have a = b = 0.
    """
    check_pictures(rgb)
    matrix = rgb.new_tensor(XYZ_FROM_RGB)
    xyz = torch.einsum("xc,bchw->bxhw", matrix / matrix.sum(dim=1, keepdim=True), _linear(rgb))
    fx, fy, fz = _cube_root(xyz).unbind(dim=1)
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), dim=1)


def lab_distance(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean CIE76 distance per picture, (B,), over all pixels or those where mask (B, H, W) is true.

    NaN where the mask of a picture is empty. Pictures are (B, 3, H, W) in [0, 1].
    """
    check_pictures(first, second)
    delta_bhw = (rgb_to_lab(first) - rgb_to_lab(second)).norm(dim=1)
    if mask is None:
        return delta_bhw.mean(dim=(1, 2))
    if mask.shape != delta_bhw.shape:
        raise ValueError(f"mask must be {tuple(delta_bhw.shape)}, not {tuple(mask.shape)}")
    return (delta_bhw * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
