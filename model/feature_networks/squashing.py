"""How pictures of any size reach the square that a feature network takes; which way it is, is part of a score's name.

Pictures: float (B, 3, H, W) in [0, 1], or a sequence of (3, h, w) of different sizes.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Pictures = Tensor | Sequence[Tensor]


def antialiased(pictures: Pictures, side: int) -> Tensor:
    """(B, 3, side, side) in [0, 1]: bicubic over areas where pictures shrink, as Pillow does, in float, then clamped.

    What clean-fid (Parmar et al. 2022) found that published scores should have been measured with.
    """
    return _squashed(pictures, side, lambda batch: F.interpolate(batch, (side, side), mode="bicubic", antialias=True))


def not_antialiased(pictures: Pictures, side: int) -> Tensor:
    """(B, 3, side, side): bilinear between the nearest pixels, whatever lies between them, as pytorch-fid does."""
    return _squashed(pictures, side, lambda batch: F.interpolate(batch, (side, side), mode="bilinear"))


def _squashed(pictures: Pictures, side: int, resized: Callable[[Tensor], Tensor]) -> Tensor:
    batches = [pictures] if isinstance(pictures, Tensor) else [picture[None] for picture in pictures]
    done = [batch if batch.shape[-2:] == (side, side) else resized(batch).clamp(0, 1) for batch in batches]
    return torch.cat(done)


def normalized(pictures: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pictures - mean) / std by channel."""
    return (pictures - pictures.new_tensor(mean)[:, None, None]) / pictures.new_tensor(std)[:, None, None]
