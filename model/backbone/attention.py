"""Attention of the denoising UNet: a reference whose keys and values are computed once, and can be steered.

Cross-attention reads a projected context, so nothing that stays constant over the steps of a sampling is computed in
them; rows without a reference skip it. Self-attention can read tokens of another pass too ("reference-only"). Both
take over the projections of diffusers' attention, so parameters keep their names.

Shapes: B batch, R rows with a reference (the first of the batch), N reference tokens, D context width, Q queries of a
level, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import nn


class KeysValues(NamedTuple):
    """What one layer attends to, (R, heads, N, head width) each; no key where there is one token, so no choice."""

    key: torch.Tensor | None
    value: torch.Tensor

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "KeysValues":
        """Both, changed alike."""
        return KeysValues(None if self.key is None else change(self.key), change(self.value))


@dataclass(frozen=True, eq=False)
class ProjectedContext:
    """Keys and values of a context (R, N, D) for every cross-attention layer, in the order in which they run."""

    layers: tuple[KeysValues, ...]

    @property
    def rows(self) -> int:
        """R, the number of rows that see a reference."""
        return len(self.layers[0].value)

    def repeat(self, times: int) -> "ProjectedContext":
        """All rows, so many times one after another: (R * times, N, D)."""
        return ProjectedContext(tuple(layer.map(lambda x: x.repeat(times, 1, 1, 1)) for layer in self.layers))


@dataclass(frozen=True)
class AttentionControls:
    """How strongly the reference acts: every cross-attention's result times reference_strength x its layer's scale.

    They act before the output projection, whose bias is not scaled. layer_scales: one factor for each layer in the
    order in which they run (`settings.LAYERS`), or none.
    """

    reference_strength: float = 1.0
    layer_scales: tuple[float, ...] = ()

    def factor(self, layer: int) -> float:
        """The factor of that layer."""
        return self.reference_strength * (self.layer_scales[layer] if self.layer_scales else 1.0)


AS_TRAINED = AttentionControls()


class SelfAttentionBank:
    """Tokens of one pass that the self-attentions of another read beside their own (attention injection).

    Kept as keys and values, which the writing pass computes anyway. The pass that writes has as many rows as there are
    references; a pass that reads has them once or several times over, in that order. `denoise(..., bank=bank.write())`,
    then `denoise(..., bank=bank.read(...))`. ColorizeDiffusion, released code.
    """

    def __init__(self) -> None:
        self._stored: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._writes = True
        self._fidelity = 0.0
        self._plain_rows = slice(0)

    def write(self) -> Self:
        """The next pass stores its tokens in place of those stored before."""
        self._stored.clear()
        self._writes = True
        return self

    def read(self, fidelity: float = 0.0, plain_rows: slice = slice(0)) -> Self:
        """The next passes read; the rows in plain_rows get fidelity x without it + (1 - fidelity) x with it."""
        self._writes, self._fidelity, self._plain_rows = False, fidelity, plain_rows
        return self

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The self-attention of that layer on (B, heads, Q, head width) each; ValueError where rows do not match."""
        if self._writes:
            self._stored[layer] = (key, value)
            return F.scaled_dot_product_attention(query, key, value)
        more_key, more_value = (_rows_of(stored, len(query)) for stored in self._stored[layer])
        injected = F.scaled_dot_product_attention(
            query, torch.cat([key, more_key], dim=2), torch.cat([value, more_value], dim=2)
        )
        rows, fidelity = self._plain_rows, self._fidelity
        start, stop, _ = rows.indices(len(query))
        if not fidelity or start >= stop:
            return injected
        plain = F.scaled_dot_product_attention(query[rows], key[rows], value[rows])
        return injected.slice_scatter(torch.lerp(injected[rows], plain, fidelity), 0, start, stop)


def _rows_of(stored: torch.Tensor, batch: int) -> torch.Tensor:
    if batch % len(stored):
        raise ValueError(f"a bank of {len(stored)} rows cannot be read by a batch of {batch}")
    return stored if batch == len(stored) else stored.repeat(batch // len(stored), 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Steering:
    """What one forward pass tells its attention layers.

    split: for layers that know two references (`split_attention`); no others read it. branches: how many times over the
    rows that come in are computed, alike but for the reference, which only the first time sees.
    """

    context: ProjectedContext | None
    controls: AttentionControls
    split: Any
    bank: SelfAttentionBank | None
    branches: int = 1


def heads_of(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined_heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


class _Projections(nn.Module):
    """The four projections of an attention layer of diffusers, under their names."""

    to_q: nn.Linear
    to_k: nn.Linear
    to_v: nn.Linear
    to_out: nn.ModuleList

    def __init__(self, source: Attention, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, source.heads
        self.to_q, self.to_k, self.to_v, self.to_out = source.to_q, source.to_k, source.to_v, source.to_out


class SelfAttention(_Projections):
    """softmax(q k^T / sqrt(head width)) v over a picture's own tokens, and a bank's where there is one.

    Vaswani et al., "Attention Is All You Need", 2017, Eq. 1.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        *,
        steering: Steering,
    ) -> torch.Tensor:
        """(B, Q, C) to (B, Q, C)."""
        query, key, value = (heads_of(to(hidden_states), self.heads) for to in (self.to_q, self.to_k, self.to_v))
        if steering.bank is None:
            out = F.scaled_dot_product_attention(query, key, value)
        else:
            out = steering.bank.attend(self.layer, query, key, value)
        return self.to_out[0](joined_heads(out))  # type: ignore[no-any-return]


class CrossAttention(_Projections):
    """Attention to the tokens of a reference, as `project` prepared them (ColorizeDiffusion section 3.1)."""

    def project(self, context: torch.Tensor) -> KeysValues:
        """Keys and values of a context (R, N, D)."""
        return KeysValues(heads_of(self.to_k(context), self.heads), heads_of(self.to_v(context), self.heads))

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        *,
        steering: Steering,
    ) -> torch.Tensor:
        """(B, Q, C) to (B, Q, C). Rows beyond the context's get what zeros give: the bias of the output projection."""
        batch, queries, _ = hidden_states.shape
        project_out: nn.Linear = self.to_out[0]  # type: ignore[assignment]
        rows = steering.context.rows if steering.context else 0
        empty = project_out.bias.expand(batch - rows, queries, -1)
        if steering.context is None:
            return empty
        out = project_out(self._reference(hidden_states[:rows], steering.context.layers[self.layer], steering))
        return out if rows == batch else torch.cat([out, empty])

    def _reference(self, hidden_states: torch.Tensor, tokens: KeysValues, steering: Steering) -> torch.Tensor:
        """(R, Q, C) to (R, Q, C), before the output projection."""
        out = self._attend(self._query(hidden_states), tokens)
        factor = steering.controls.factor(self.layer)
        return out if factor == 1 else out * factor

    def _query(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return heads_of(self.to_q(hidden_states), self.heads)

    def _attend(self, query: torch.Tensor, tokens: KeysValues) -> torch.Tensor:
        assert tokens.key is not None
        return joined_heads(F.scaled_dot_product_attention(query, tokens.key, tokens.value))


class ClassTokenAttention(CrossAttention):
    """Attention to one token, which is a linear layer of it (ColorizeDiffusion section 4.2, the CLS model)."""

    def __init__(self, source: Attention, layer: int) -> None:
        super().__init__(source, layer)
        del self.to_q, self.to_k  # one token takes all the attention, whatever asks

    def project(self, context: torch.Tensor) -> KeysValues:
        """Values of a context (R, 1, D)."""
        return KeysValues(None, heads_of(self.to_v(context), self.heads))

    def _query(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states

    def _attend(self, query: torch.Tensor, tokens: KeysValues) -> torch.Tensor:
        return joined_heads(tokens.value).expand(-1, query.shape[1], -1)
