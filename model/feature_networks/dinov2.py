"""DINOv2 ViT-L/14 (Oquab et al. 2023), whose features Stein et al. 2023 found closest to what people see.

Trained at 518 pixels and fed 224, so that its position embeddings are resampled, as its authors do: bicubic, not
antialiased, by a factor of (16 + 0.1) / 37. The vision transformer is timm's.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from model.feature_networks.squashing import Pictures, antialiased, normalized

SIDE, TRAINED_SIDE, PATCH, DIMS = 224, 518, 14, 1024
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OFFSET = 0.1  # which the authors add to a side of the grid, against rounding


def dinov2_vitl14(width: int = DIMS, depth: int = 24, heads: int = 16) -> nn.Module:
    """The network under the keys of its authors' file."""
    network: nn.Module = VisionTransformer(
        img_size=TRAINED_SIDE,
        patch_size=PATCH,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        init_values=1e-5,
        num_classes=0,
        dynamic_img_size=True,
    )
    return network


def features(network: Any, pictures: Pictures) -> Tensor:
    """(B, 1024) of pictures in [0, 1]: the class token behind the last normalisation."""
    side = SIDE // PATCH
    if network.pos_embed.shape[1] != side**2 + 1:
        resampled = resampled_positions(network.pos_embed.detach(), side)
        network.pos_embed = nn.Parameter(resampled, requires_grad=False)
        network.patch_embed.grid_size = (side, side)  # of the embeddings, else timm resamples them again
    squashed = normalized(antialiased(pictures, SIDE), _MEAN, _STD)
    found: Tensor = network.forward_features(squashed)[:, 0]
    return found


def resampled_positions(positions: Tensor, side: int) -> Tensor:
    """Embeddings (1, 1 + n², D) for a class token and n x n patches -> (1, 1 + side², D)."""
    trained = math.isqrt(positions.shape[1] - 1)
    grid = positions[:, 1:].reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    factor = (side + _OFFSET) / trained
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
