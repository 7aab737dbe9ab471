"""What a picture is: drawn or photographed, safe or not, by the InceptionV3 that nsfwjs publishes.

Five classes: Drawing and Neutral are safe, Hentai (drawn), Porn and Sexy are not. Published as a Keras topology with
8-bit weights in an npm package (nsfwjs 4.4.0, MIT), whose batch norms, without scales, are folded into the convolutions
here. The convolutions are in the order of Keras, which numbers them conv2d_1 to conv2d_94.

Source: Szegedy et al. 2016, Rethinking the Inception Architecture; nsfwjs by Infinite Red.

Shapes: B batch, C channels, h w features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model.errors import ModelError
from model.extractors.convention import Convention, Picture, Planes
from model.extractors.fitting import rgb
from model.extractors.labels.tfjs import read_bundle

CLASSES = ("Drawing", "Hentai", "Neutral", "Porn", "Sexy")
DRAWN = ("Drawing", "Hentai")
SAFE = ("Drawing", "Neutral")
NORM_EPSILON = 1e-3
IN_PACKAGE = Path("dist", "models", "inception_v3")


def verdict(classes: Mapping[str, float]) -> dict[str, float]:
    """What filters ask: the probabilities that the picture is drawn (`drawing`) and that it is not safe (`unsafe`)."""
    return {"drawing": sum(classes[name] for name in DRAWN), "unsafe": 1 - sum(classes[name] for name in SAFE)}


class ContentNet(nn.Module):
    """(B, 3, 299, 299) RGB in [0, 1] -> (B, 5) probabilities of CLASSES."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16", "bfloat16")

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(_Conv(3, 32, 3, 2), _Conv(32, 32, 3, 1), _Conv(32, 64, 3, 1, 1), nn.MaxPool2d(3, 2)),
            *(_Conv(64, 80, 1), _Conv(80, 192, 3), nn.MaxPool2d(3, 2)),
            *(_mixed_35(192, 32), _mixed_35(256, 64), _mixed_35(288, 64)),
            _to_17(288),
            *(_mixed_17(128), _mixed_17(160), _mixed_17(160), _mixed_17(192)),
            _to_8(768),
            *(_mixed_8(1280), _mixed_8(2048)),
        )
        self.dense = nn.Sequential(
            nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, len(CLASSES))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.dense(self.features(images).mean((2, 3))).softmax(1)


class _Conv(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu_()


class _Beside(nn.ModuleList):
    """All branches of one input, one behind the other along the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self], 1)


def _mean_pool() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _tall(before: int, after: int) -> _Conv:
    return _Conv(before, after, (7, 1), 1, (3, 0))


def _wide(before: int, after: int) -> _Conv:
    return _Conv(before, after, (1, 7), 1, (0, 3))


def _mixed_35(width: int, pooled: int) -> nn.Module:
    """Features of 35 x 35."""
    return _Beside(
        (
            _Conv(width, 64, 1),
            nn.Sequential(_Conv(width, 48, 1), _Conv(48, 64, 5, 1, 2)),
            nn.Sequential(_Conv(width, 64, 1), _Conv(64, 96, 3, 1, 1), _Conv(96, 96, 3, 1, 1)),
            nn.Sequential(_mean_pool(), _Conv(width, pooled, 1)),
        )
    )


def _to_17(width: int) -> nn.Module:
    return _Beside(
        (
            _Conv(width, 384, 3, 2),
            nn.Sequential(_Conv(width, 64, 1), _Conv(64, 96, 3, 1, 1), _Conv(96, 96, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
    )


def _mixed_17(inner: int) -> nn.Module:
    """Features of 17 x 17 and 768 channels; `inner` is the width of the branches of 7-wide and 7-tall filters."""
    return _Beside(
        (
            _Conv(768, 192, 1),
            nn.Sequential(_Conv(768, inner, 1), _wide(inner, inner), _tall(inner, 192)),
            nn.Sequential(
                _Conv(768, inner, 1), _tall(inner, inner), _wide(inner, inner), _tall(inner, inner), _wide(inner, 192)
            ),
            nn.Sequential(_mean_pool(), _Conv(768, 192, 1)),
        )
    )


def _to_8(width: int) -> nn.Module:
    return _Beside(
        (
            nn.Sequential(_Conv(width, 192, 1), _Conv(192, 320, 3, 2)),
            nn.Sequential(_Conv(width, 192, 1), _wide(192, 192), _tall(192, 192), _Conv(192, 192, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
    )


def _mixed_8(width: int) -> nn.Module:
    """Features of 8 x 8."""
    return _Beside(
        (
            _Conv(width, 320, 1),
            nn.Sequential(_Conv(width, 384, 1), _fork()),
            nn.Sequential(_Conv(width, 448, 1), _Conv(448, 384, 3, 1, 1), _fork()),
            nn.Sequential(_mean_pool(), _Conv(width, 192, 1)),
        )
    )


def _fork() -> nn.Module:
    return _Beside((_Conv(384, 384, (1, 3), 1, (0, 1)), _Conv(384, 384, (3, 1), 1, (1, 0))))


def from_package(folder: Path) -> dict[str, torch.Tensor]:
    """The weights for ContentNet in the unpacked nsfwjs package. Raises ModelError where they are not there."""
    _, tensors = read_bundle(folder / IN_PACKAGE)
    with torch.device("meta"):
        network = ContentNet()
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    weights: dict[str, torch.Tensor] = {}
    try:
        for number, name in enumerate(convolutions, 1):
            weights |= _folded(tensors, number, name)
        for number, name in enumerate(linears, 1):
            weights[f"{name}.weight"] = torch.from_numpy(tensors.pop(f"dense_{number}/kernel")).T.contiguous()
            weights[f"{name}.bias"] = torch.from_numpy(tensors.pop(f"dense_{number}/bias"))
    except KeyError as error:
        raise ModelError(f"{folder / IN_PACKAGE}: the tensor {error} is missing") from error
    if tensors:
        raise ModelError(f"{folder / IN_PACKAGE}: unknown tensors: {', '.join(sorted(tensors))}")
    return weights


def _folded(tensors: dict[str, npt.NDArray[np.float32]], number: int, name: str) -> dict[str, torch.Tensor]:
    """A convolution (h, w, in, out) and the norm behind it, (x - mean) / sqrt(variance + epsilon) + beta, as one."""
    kernel = tensors.pop(f"conv2d_{number}/kernel").astype(np.float64)
    beta, mean, variance = (
        tensors.pop(f"batch_normalization_{number}/{part}").astype(np.float64)
        for part in ("beta", "moving_mean", "moving_variance")
    )
    scale = 1 / np.sqrt(variance + NORM_EPSILON)
    folded = np.ascontiguousarray((kernel * scale).transpose(3, 2, 0, 1), np.float32)
    return {
        f"{name}.weight": torch.from_numpy(folded),
        f"{name}.bias": torch.from_numpy((beta - mean * scale).astype(np.float32)),
    }


@dataclass(frozen=True)
class NSFWJS:
    """As nsfwjs does it: squashed to a square, bilinear with corners aligned and without antialiasing, in [0, 1]."""

    name: str = "nsfwjs"
    side: int = 299

    def prepare(self, picture: Picture) -> Planes:
        return _bilinear(rgb(picture), self.side)

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        return network(planes)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Any:
        """Class -> probability."""
        return dict(zip(CLASSES, output.tolist(), strict=True))


def _bilinear(picture: Picture, side: int) -> Planes:
    """(H, W, 3) uint8 -> (3, side, side) in [0, 1]: pixel i of the result lies at i (H - 1) / (side - 1)."""
    (top, bottom, down), (left, right, along) = (_between(length, side) for length in picture.shape[:2])
    upper, lower = (_mixed(picture[row[:, None], left], picture[row[:, None], right], along) for row in (top, bottom))
    square = _mixed(upper, lower, down[:, None])
    return np.multiply(square.transpose(2, 0, 1), np.float32(1 / 255), order="C")


def _between(length: int, side: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each of `side` places among `length` pixels: the pixel before it, the one behind, and how far it is."""
    place = np.linspace(0, length - 1, side)
    before = np.floor(place).astype(np.intp)
    return before, np.minimum(before + 1, length - 1), (place - before).astype(np.float32)


def _mixed(first: np.ndarray, second: np.ndarray, share: npt.NDArray[np.float32]) -> Planes:
    """`first`, with a share of `second` at each place."""
    return np.add(first, share[..., None] * np.subtract(second, first, dtype=np.float32), dtype=np.float32)


CONVENTIONS: Mapping[str, Convention] = {convention.name: convention for convention in (NSFWJS(),)}
