"""How pleasing a picture is, 1 to 10: the vision tower of SigLIP so400m and a head of five linear layers.

Both halves are published apart (`siglip_so400m`, `aesthetic_v25` of model.catalogue) and keep their own keys: of
google/siglip-so400m-patch14-384 only `vision_model.*` is used. ColorizeDiffusion XL takes pictures from 5 up. The head
has no activations, so that in evaluation it is one affine map of the normalised embedding.

Sources: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training; aesthetic-predictor-v2-5 by discus0434.

Shapes: B batch, N patches, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from model.extractors.convention import Convention, Picture, Planes
from model.extractors.fitting import planes, rgb, squash

_NORM = partial(nn.LayerNorm, eps=1e-6)


@dataclass(frozen=True)
class SigLIPConfig:
    """The size of a vision tower; the defaults are those of so400m patch14 384."""

    width: int = 1152
    layers: int = 27
    heads: int = 16
    hidden: int = 4304  # of the perceptrons
    patch: int = 14
    side: int = 384

    @property
    def patches(self) -> int:
        """How many the picture is cut into; what is left at its right and bottom edge is not seen."""
        return (self.side // self.patch) ** 2


SO400M = SigLIPConfig()


class SigLIPVision(nn.Module):
    """(B, 3, side, side) in [-1, 1] -> (B, D), the pooled embedding before it is normalised."""

    # After 27 layers float16 is off by 1.2e-3 of the largest value, bfloat16 by 1.02e-2: more than is taken.
    half_precision: ClassVar[tuple[str, ...]] = ("float16",)

    def __init__(self, config: SigLIPConfig = SO400M) -> None:
        super().__init__()
        self.vision_model = _Tower(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.vision_model(images)


class AestheticHead(nn.Module):
    """(B, D) of length 1 -> (B,) scores."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)

    def __init__(self, width: int = SO400M.width) -> None:
        super().__init__()
        self.scoring_head = nn.Sequential(
            *(nn.Linear(width, 1024), nn.Dropout(0.5)),
            *(nn.Linear(1024, 128), nn.Dropout(0.5)),
            *(nn.Linear(128, 64), nn.Dropout(0.5)),
            *(nn.Linear(64, 16), nn.Dropout(0.2)),
            nn.Linear(16, 1),
        )

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.scoring_head(embeddings)[:, 0]


class AestheticScorer(nn.Module):
    """(B, 3, side, side) in [-1, 1] -> (B,) scores: both halves, each with weights of its own file."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)

    def __init__(self, vision: SigLIPVision, head: AestheticHead) -> None:
        super().__init__()
        self.vision = vision
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(F.normalize(self.vision(images), dim=-1))


class _Tower(nn.Module):
    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.post_layernorm = _NORM(config.width)
        self.head = _PoolingHead(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.post_layernorm(self.encoder(self.embeddings(images))))


class _Embeddings(nn.Module):
    """(B, 3, side, side) -> (B, N, D)."""

    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.position_embedding = nn.Embedding(config.patches, config.width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.patch_embedding(images).flatten(2).transpose(1, 2) + self.position_embedding.weight


class _Encoder(nn.Module):
    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Layer(nn.Module):
    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.layer_norm1 = _NORM(config.width)
        self.self_attn = _Attention(config)
        self.layer_norm2 = _NORM(config.width)
        self.mlp = _Perceptron(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Attention(nn.Module):
    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, heads, N, D / heads)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Perceptron(nn.Module):
    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class _PoolingHead(nn.Module):
    """(B, N, D) -> (B, D): what a learned probe attends to."""

    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, config.width))
        self.attention = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.layernorm = _NORM(config.width)
        self.mlp = _Perceptron(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled, _ = self.attention(self.probe.expand(len(x), -1, -1), x, x, need_weights=False)
        return (pooled + self.mlp(self.layernorm(pooled)))[:, 0]


@dataclass(frozen=True)
class Squashed:
    """How the predictor's authors feed it: squashed to a square (bicubic, antialiased), mean and deviation 0.5."""

    name: str = "squash-384"
    side: int = SO400M.side

    def prepare(self, picture: Picture) -> Planes:
        return planes(squash(rgb(picture), self.side, self.side), 2 / 255) - 1

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """The scores (N,) of an AestheticScorer."""
        return network(planes)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> float:
        return float(output)


CONVENTIONS: Mapping[str, Convention] = {convention.name: convention for convention in (Squashed(),)}
