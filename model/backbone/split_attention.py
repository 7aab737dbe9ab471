"""Split cross-attention: two references in one context, a mask that says which of them a position reads, and low-rank
updates of the projections for each.

Thesis 5.5.2 (Eq. 5.4), "Separating Reference Representations" III.C (Eq. 1): where m_s > tau_s a query attends to the
tokens of the whole reference through W_f, elsewhere to those of its background through W_b, where W_f and W_b are the
frozen W and an update of their own (LoRA: Hu et al., 2022). The choice is made before the output projection.

Shapes: B batch, R rows with a reference (the first of the batch), N tokens of each reference, D context width, Q
queries of a level, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Self, get_args

import torch
import torch.nn.functional as F
from torch import nn

from model.backbone.attention import CrossAttention, KeysValues, Steering, heads_of

Region = Literal["foreground", "background"]
REGIONS: tuple[Region, Region] = get_args(Region)
Lora = Literal["off", "thesis", "paper-000", "released-v15", "released-v2"]


class Regions(NamedTuple):
    """The regions of one level. background: (B, Q, 1) booleans. Known where each query is to be computed once: only,
    the region that all are of; places, of each row the indices of its foreground's and its background's queries."""

    background: torch.Tensor
    only: Region | None = None
    places: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()


@dataclass(frozen=True, eq=False)
class SplitReference:
    """Which positions are foreground, and how strongly each region's reference acts.

    mask: (B, 1, H, W) in [0, 1], 1 = foreground, at latent size; it is resized to the levels and then compared:
    foreground is what is greater than threshold, one for all rows or (B, 1, 1, 1). At a threshold of 1 all is
    background. foreground, background: factors of the attentions' results; foreground_lora, background_lora: of the
    low-rank updates, 0 switches them off; merge: how much of the background's result is blended into the foreground's.
    The last three are one for all rows or (R, 1, 1).
    once: compute each query in its own region alone, with equal results to rounding; it asks the device which they are.
    """

    mask: torch.Tensor
    threshold: float | torch.Tensor = 0.05
    foreground: float = 1.0
    background: float = 1.0
    foreground_lora: float | torch.Tensor = 1.0
    background_lora: float | torch.Tensor = 1.0
    merge: float | torch.Tensor = 0.0
    once: bool = False
    regions: dict[int, Regions] = field(default_factory=dict, init=False, repr=False)  # by the number of queries

    def __post_init__(self) -> None:
        if self.once and (
            isinstance(self.foreground_lora, torch.Tensor) or isinstance(self.background_lora, torch.Tensor)
        ):
            raise ValueError("each query once needs one factor of the low-rank updates for all rows")

    def prepared(self, levels: int) -> Self:
        """Itself, with the regions of so many levels; they are found when first asked for."""
        height, width = self.mask.shape[-2:]
        for _ in range(0 if self.regions else levels):
            mask = F.interpolate(self.mask, size=(height, width), mode="bicubic").clamp(0, 1)  # it overshoots at edges
            self.regions[height * width] = self._regions((mask <= self.threshold).flatten(2).transpose(1, 2))
            height, width = -(-height // 2), -(-width // 2)  # as a convolution of stride 2 and padding 1
        return self

    def strength(self, region: Region) -> float:
        """The factor of that region's attention."""
        return self.foreground if region == "foreground" else self.background

    def lora(self, region: Region) -> float | torch.Tensor:
        """The factor of that region's low-rank updates."""
        return self.foreground_lora if region == "foreground" else self.background_lora

    @property
    def merges(self) -> bool:
        """Whether any of the background's result is blended into the foreground's."""
        return isinstance(self.merge, torch.Tensor) or self.merge != 0

    def repeat(self, times: int) -> "SplitReference":
        """All rows, so many times one after another."""
        return replace(
            self,
            mask=self.mask.repeat(times, 1, 1, 1),
            threshold=_rows(self.threshold, times),
            foreground_lora=_rows(self.foreground_lora, times),
            background_lora=_rows(self.background_lora, times),
            merge=_rows(self.merge, times),
        )

    def _regions(self, background: torch.Tensor) -> Regions:
        if not self.once:
            return Regions(background)
        rows = [row[:, 0] for row in background]
        places = tuple(((~row).nonzero()[:, 0], row.nonzero()[:, 0]) for row in rows)
        counts = [sum(len(row[region]) for row in places) for region in range(2)]
        only = None if all(counts) else REGIONS[0 if counts[0] else 1]
        return Regions(background, only, places)


def _rows(value: float | torch.Tensor, times: int) -> float | torch.Tensor:
    """One number for all rows as it is, one for each row so many times over."""
    return value.repeat(times, *[1] * (value.ndim - 1)) if isinstance(value, torch.Tensor) else value


class AdaptedLinear(nn.Module):
    """A linear layer without bias, W x, with a low-rank update up(down(x)) for each region; its weight keeps its name.

    An update starts at zero: up is zeros, down normal with deviation 1 / rank (released code).
    """

    def __init__(self, source: nn.Linear, ranks: Mapping[Region, int]) -> None:
        super().__init__()
        self.weight = source.weight
        for region, rank in ranks.items():
            down = nn.Linear(source.in_features, rank, bias=False)
            up = nn.Linear(rank, source.out_features, bias=False)
            nn.init.normal_(down.weight, std=1 / rank)
            nn.init.zeros_(up.weight)
            self.add_module(f"{region}_down", down)
            self.add_module(f"{region}_up", up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        return F.linear(x, self.weight)

    def adapted(self, x: torch.Tensor, region: Region, scale: float | torch.Tensor) -> torch.Tensor:
        """W x + scale up(down(x))."""
        one_for_all = not isinstance(scale, torch.Tensor)
        if one_for_all and not scale:
            return self(x)  # type: ignore[no-any-return]
        update = self.get_submodule(f"{region}_up")(self.get_submodule(f"{region}_down")(x))
        return self(x) + (update if one_for_all and scale == 1 else update * scale)  # type: ignore[no-any-return]


def lora_ranks(preset: Lora, linear: nn.Linear, query_width: int, context_width: int) -> dict[Region, int]:
    """The published ranks of a projection of a layer whose queries and tokens have these widths.

    "thesis": 16 and 4 (5.5.2). "paper-000": 16 and half of the smaller width of the two ("Separating Reference
    Representations" III.C). "released-v15": 4 and half of the projection's smaller side; "released-v2": 4 and 4, in the
    decoder alone (released code).
    """
    foreground, background = {
        "thesis": (16, 4),
        "paper-000": (16, min(query_width, context_width) // 2),
        "released-v15": (4, min(linear.in_features, linear.out_features) // 2),
        "released-v2": (4, 4),
    }[preset]
    return {"foreground": foreground, "background": background}


class SplitCrossAttention(CrossAttention):
    """`CrossAttention` that can read two references. Without a `Steering.split` it is that, with W alone."""

    def __init__(self, source: CrossAttention, lora: Lora) -> None:
        super().__init__(source, source.layer)  # type: ignore[arg-type]  # it has the same projections
        if lora == "off":
            return
        widths = self.to_q.in_features, self.to_k.in_features
        for name in ("to_q", "to_k", "to_v"):
            linear: nn.Linear = getattr(self, name)
            setattr(self, name, AdaptedLinear(linear, lora_ranks(lora, linear, *widths)))

    def project_split(self, context: torch.Tensor, split: SplitReference) -> KeysValues:
        """Keys and values of two references in one context (R, 2 N, D), each by the weights of its region."""
        parts = list(zip(REGIONS, context.chunk(2, dim=1), strict=True))
        key, value = (
            torch.cat([heads_of(_adapted(to, tokens, region, split), self.heads) for region, tokens in parts], dim=2)
            for to in (self.to_k, self.to_v)
        )
        return KeysValues(key, value)

    def _reference(self, hidden_states: torch.Tensor, tokens: KeysValues, steering: Steering) -> torch.Tensor:
        split: SplitReference | None = steering.split
        if split is None:
            return super()._reference(hidden_states, tokens, steering)
        out = self._split(hidden_states, tokens, split, split.regions[hidden_states.shape[1]])
        factor = steering.controls.factor(self.layer)
        return out if factor == 1 else out * factor

    def _split(
        self, hidden_states: torch.Tensor, tokens: KeysValues, split: SplitReference, regions: Regions
    ) -> torch.Tensor:
        foreground = tokens.map(lambda x: x.chunk(2, dim=2)[0])
        background = tokens.map(lambda x: x.chunk(2, dim=2)[1])
        if regions.only == "background":
            return self._of(hidden_states, background, "background", split)
        if not split.merges and regions.only == "foreground":
            return self._of(hidden_states, foreground, "foreground", split)
        if not split.merges and regions.places:
            # Each query in its region alone; rows differ in how many these are.
            out = torch.empty_like(hidden_states)
            for row, places in enumerate(regions.places[: len(hidden_states)]):
                for region, read, place in zip(REGIONS, (foreground, background), places, strict=True):
                    if len(place):
                        own = KeysValues(
                            None if read.key is None else read.key[row : row + 1], read.value[row : row + 1]
                        )
                        out[row, place] = self._of(hidden_states[row : row + 1, place], own, region, split)[0]
            return out
        front = self._of(hidden_states, foreground, "foreground", split)
        back = self._of(hidden_states, background, "background", split)
        if split.merges:
            front = front * (1 - split.merge) + back * split.merge
        return torch.where(regions.background[: len(hidden_states)], back, front)

    def _of(
        self, hidden_states: torch.Tensor, tokens: KeysValues, region: Region, split: SplitReference
    ) -> torch.Tensor:
        """(R, Q, C) queries' attention to the tokens of their region."""
        query = heads_of(_adapted(self.to_q, hidden_states, region, split), self.heads)
        strength = split.strength(region)
        out = self._attend(query, tokens)
        return out if strength == 1 else out * strength


def _adapted(to: nn.Module, x: torch.Tensor, region: Region, split: SplitReference) -> torch.Tensor:
    if isinstance(to, AdaptedLinear):
        return to.adapted(x, region, split.lora(region))
    result: torch.Tensor = to(x)
    return result
