"""A generator that paints a sketch in a reference's colours, and a discriminator that knows which one was meant."""

from itertools import pairwise

import torch
from torch import nn

from tests.families.duel.sizes import DuelConfig


def _layers(*widths: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.SiLU()]
    return nn.Sequential(*parts[:-2])


class Generator(nn.Module):
    """Sketch (B, 3, H, W) and reference (B, 3, h, w) to a picture (B, 3, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, width)
        self.painter = _layers(3 + width, width, width, 3)

    def forward(self, sketch: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        colours = self.encoder(reference.mean(dim=(2, 3)))[..., None, None].expand(-1, -1, *sketch.shape[2:])
        painted: torch.Tensor = self.painter(torch.cat([sketch, colours], dim=1))
        return painted.tanh()


class Duel(nn.Module):
    """Both, as a checkpoint holds them."""

    def __init__(self, config: DuelConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config.width)
        self.discriminator = _layers(9, config.width, 1)
