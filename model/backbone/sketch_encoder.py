"""The sketch encoder: line art becomes five feature maps ("hints") that are added to the UNet's encoder.

It sees no timestep, so it runs once per picture however many steps are sampled. Every hint leaves through a 1x1
convolution that starts at zero: an untrained encoder changes nothing. Thesis section 5.3.2, Table 5.2.

Shapes: B batch, H W picture; hints at 1/8, 1/16, 1/32, 1/64, 1/64 of the picture.
"""

from itertools import pairwise

import torch
from torch import nn

from model.backbone.config import BackboneConfig
from model.backbone.zeros import zero

_STEM_STRIDES = (1, 1, 2, 1, 2, 1, 2)  # thesis Table 5.2


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)


def _zero_conv1(channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, channels, kernel_size=1)
    zero(conv)
    return conv


def _stem(inputs: int, widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    # The paper marks the last convolution as zero-initialised too; the released code does not, and two zero layers
    # in a row would never receive a gradient.
    convolutions = ((inputs, 1), *zip(widths, _STEM_STRIDES, strict=True), (outputs, 1))
    layers: list[nn.Module] = []
    for (before, _), (after, stride) in pairwise(convolutions):
        layers += [_conv3(before, after, stride), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class SketchEncoder(nn.Module):
    """Line art (B, 3, H, W), background -1 and lines +1, to five hints; H and W multiples of 8."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        first, *_ = channels = config.channels
        widths = [first, *channels]
        strides = [2] * (len(channels) - 1) + [1]
        self.stem = _stem(config.sketch_channels, config.stem_widths, first)
        self.stem_hint = _zero_conv1(first)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), _conv3(before, after, stride), nn.SiLU(), _conv3(after, after))
            for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.block_hints = nn.ModuleList(_zero_conv1(width) for width in channels)

    def forward(self, sketch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The hints s_i of thesis Eq. 5.1, of widths C, C, 2C, 4C, 4C, for UNet input blocks 0, 3, 6, 9, 11."""
        features = self.stem(sketch)
        hints = [self.stem_hint(features)]
        for block, hint in zip(self.blocks, self.block_hints, strict=True):
            features = block(features)
            hints.append(hint(features))
        return tuple(hints)
