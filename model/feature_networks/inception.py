"""The Inception-v3 of published FIDs, `pt_inception-2015-12-05`: TensorFlow's network of 2015 with 1,008 classes.

It differs from torchvision's in its pooling: averages leave the padding out, and the last block takes the maximum. Its
blocks are torch-fidelity's. Batch normalisation is folded into the convolutions, which changes nothing but the time.

Sources: Heusel et al. 2017; the file is that of pytorch-fid and torch-fidelity, which name its hash.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3 as blocks

from model.feature_networks.squashing import Pictures, antialiased, not_antialiased

SIDE = 299
DIMS = 2048
_EPSILON = 1e-3  # of batch normalisation
_UNUSED = ("fc.",)  # what makes classes of the features


class FidInception(nn.Module):
    """(B, 3, 299, 299) in [-1, 1] -> (B, 2048): the average over the picture of the last block."""

    def __init__(self) -> None:
        super().__init__()
        conv = blocks.BasicConv2d
        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        for name, channels, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
            self.add_module(f"Mixed_{name}", blocks.InceptionA(channels, pool_features=pooled))
        self.Mixed_6a = blocks.InceptionB(288)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            self.add_module(f"Mixed_{name}", blocks.InceptionC(768, channels_7x7=width))
        self.Mixed_7a = blocks.InceptionD(768)
        self.Mixed_7b = blocks.InceptionE_1(1280)
        self.Mixed_7c = blocks.InceptionE_2(2048)
        for block in [module for module in self.modules() if isinstance(module, conv)]:
            block.conv, block.bn = _with_bias(block.conv), nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for name, part in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            x = part(x)
        return x.mean(dim=(2, 3))


def _with_bias(conv: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
    )


def published_layout(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published state dict under the keys of FidInception, its batch normalisation folded in, in float64.

    What is no part of it keeps its key, so that the reader of weights names it.
    """
    folded = {}
    for key, weight in tensors.items():
        if not key.endswith(".conv.weight"):
            continue
        name = key.removesuffix(".conv.weight")
        normalisation = [f"{name}.bn.{of}" for of in ("weight", "bias", "running_mean", "running_var")]
        if not all(part in tensors for part in normalisation):
            continue  # another network's, or damaged: it stays, and the reader of weights names what is lacking
        scale, shift, mean, variance = (tensors[part].double() for part in normalisation)
        factor = scale / torch.sqrt(variance + _EPSILON)
        folded[f"{name}.conv.weight"] = (weight.double() * factor[:, None, None, None]).float()
        folded[f"{name}.conv.bias"] = (shift - mean * factor).float()
    known = (*{f"{key.rsplit('.', 2)[0]}." for key in folded}, *_UNUSED)
    unknown = [key for key in tensors if not key.startswith(known)]
    return folded | {key: tensors[key] for key in unknown}


def features(network: nn.Module, pictures: Pictures) -> Tensor:
    """(B, 2048) of pictures in [0, 1] as pytorch-fid sees them: bilinear without antialiasing, then 2x - 1."""
    return _computed(network, not_antialiased(pictures, SIDE))


def clean_features(network: nn.Module, pictures: Pictures) -> Tensor:
    """(B, 2048) of pictures in [0, 1] with clean-fid's resizing: bicubic and antialiased, then 2x - 1."""
    return _computed(network, antialiased(pictures, SIDE))


def _computed(network: nn.Module, squashed: Tensor) -> Tensor:
    # channels last: a fifth faster on CPUs and on GPUs
    found: Tensor = network((2 * squashed - 1).contiguous(memory_format=torch.channels_last))
    return found
