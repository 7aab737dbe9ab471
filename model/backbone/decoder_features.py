"""What encoders of a reference tell the decoder: its background at every skip, its style at every result.

"Separating Reference Representations" III.D (Eqs. 2 and 3), thesis 5.6; what the papers leave open follows the released
code. Features are made once for a reference; nothing that stays constant over the steps of a sampling is computed in
them.

Shapes: B batch, C channels of a level, H W its size, Q = H W, E width of the time embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from model.backbone.attention import KeysValues, heads_of, joined_heads
from model.backbone.split_attention import Regions, SplitReference
from model.backbone.zeros import zero

MLP_FACTOR = 4


@dataclass(frozen=True, eq=False)
class DecoderFeatures:
    """Of the references of B rows, for the decoder's blocks in the order in which they run; empty where there are none.

    background: what each skip attends to where `split` has background. style: (B, 2 C) for each result.
    """

    background: tuple[KeysValues, ...] = ()
    style: tuple[torch.Tensor, ...] = ()
    split: SplitReference | None = None

    def __post_init__(self) -> None:
        if self.background and self.split is None:
            raise ValueError("features of a background need a mask that says where it is")

    def prepared(self, levels: int) -> "DecoderFeatures":
        """Itself, with the regions of so many levels."""
        if self.split is not None:
            self.split.prepared(levels)
        return self

    def regions(self, skip: torch.Tensor) -> Regions:
        """Those of the level of a skip (B, C, H, W)."""
        assert self.split is not None
        return self.split.regions[skip.shape[-2] * skip.shape[-1]]

    def repeat(self, times: int) -> "DecoderFeatures":
        """All rows, so many times one after another."""
        if times == 1:
            return self
        return replace(
            self,
            background=tuple(read.map(lambda x: x.repeat(times, 1, 1, 1)) for read in self.background),
            style=tuple(vector.repeat(times, 1) for vector in self.style),
            split=None if self.split is None else self.split.repeat(times),
        )


NO_FEATURES = DecoderFeatures()


class FeatureAttention(nn.Module):
    """Attention of a skip's positions to those of a feature; keys and values are made once (`project`)."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        if width % head_width:
            raise ValueError(f"a skip of {width} channels cannot be parted into heads of {head_width}")
        self.heads = width // head_width
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, width)

    def project(self, feature: torch.Tensor) -> KeysValues:
        """Keys and values of a feature (B, Q, C)."""
        return KeysValues(heads_of(self.to_k(feature), self.heads), heads_of(self.to_v(feature), self.heads))

    def forward(self, x: torch.Tensor, read: KeysValues) -> torch.Tensor:
        """(B, P, C) to (B, P, C), for any number P of positions."""
        assert read.key is not None
        out = F.scaled_dot_product_attention(heads_of(self.to_q(x), self.heads), read.key, read.value)
        return self.to_out(joined_heads(out))  # type: ignore[no-any-return]


class BackgroundInjection(nn.Module):
    """Eq. 2: where a skip is background, a transformer block that reads the background's feature; elsewhere as it is.

    The block (released code): attention to the feature, which is not normalised, then two layers with SiLU between
    them, of which the last starts at zero; both are added to what comes in.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = FeatureAttention(width, head_width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_FACTOR * width), nn.SiLU(), nn.Linear(MLP_FACTOR * width, width))
        zero(self.mlp[2])

    def project(self, feature: torch.Tensor) -> KeysValues:
        """What the block reads of a feature (B, Q, C)."""
        return self.attention.project(feature)

    def forward(self, skip: torch.Tensor, read: KeysValues, regions: Regions) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W); each position is computed once where the regions say which these are."""
        if regions.only == "foreground":
            return skip
        size = skip.shape[-2:]
        tokens = skip.flatten(2).transpose(1, 2)
        if regions.only == "background" or not regions.places:
            injected = self._block(tokens, read)
            out = injected if regions.only else torch.where(regions.background, injected, tokens)
        else:
            out = tokens.clone()
            for row, (_, places) in enumerate(regions.places):
                if len(places):
                    out[row, places] = self._block(tokens[row : row + 1, places], read.map(_row(row)))[0]
        return out.transpose(1, 2).unflatten(2, size)

    def _block(self, x: torch.Tensor, read: KeysValues) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), read)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def _row(row: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x[row : row + 1]


class StyleModulation(nn.Module):
    """Eq. 3: scale and shift of a result by a style vector and the time embedding; starts at none of both."""

    def __init__(self, width: int, time_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.time = nn.Linear(time_width, 2 * width)
        self.out = nn.Linear(2 * width, 2 * width)
        zero(self.out)

    def forward(self, h: torch.Tensor, style: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H, W), for style vectors (B, 2 C) and a time embedding (B or 1, E)."""
        scale, shift = self.out(self.norm(style + self.time(emb)))[..., None, None].chunk(2, dim=1)
        return h * (1 + scale) + shift  # type: ignore[no-any-return]
