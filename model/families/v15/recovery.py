"""The recovery transformer, which re-encodes the tokens of a background, and the embedding of thresholds.

A reference whose figure was painted white gives tokens that no reference of the frozen network ever gave; the recovery
brings them back to what that network understands (thesis 5.5.4). Two shapes are published.

Shapes: R references, N tokens, D context width.
"""

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn

from model.families.v15.sizes import RECOVERY_LAYERS, V15Config

HEAD_WIDTH = 64  # thesis 5.5.4; the released code's too
MLP_FACTOR = 4


class QueryBlock(nn.Module):
    """x + attention(norm x, tokens), then x + mlp(norm x); the tokens are not normalised (released code)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(
            width, cross_attention_dim=width, heads=width // HEAD_WIDTH, dim_head=HEAD_WIDTH, bias=False
        )
        self.mlp = nn.Sequential(nn.Linear(width, MLP_FACTOR * width), nn.SiLU(), nn.Linear(MLP_FACTOR * width, width))

    def forward(self, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """x (R, M, D) and tokens (R, N, D) to (R, M, D)."""
        x = x + self.attention(self.norm1(x), encoder_hidden_states=tokens)
        x = x + self.mlp(self.norm2(x))
        return x


class QueryRecovery(nn.Module):
    """Learned queries that read the tokens, layer by layer: the released code's shape."""

    def __init__(self, width: int, layers: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.layers = nn.ModuleList(QueryBlock(width) for _ in range(layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(R, N, D) to (R, queries, D)."""
        x = self.queries.expand(len(tokens), -1, -1)
        for layer in self.layers:
            x = layer(x, tokens)
        return x


class EncoderRecovery(nn.Module):
    """A transformer encoder of self-attention in heads of 64: the thesis's shape (5.5.4), norms before each part."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, width // HEAD_WIDTH, MLP_FACTOR * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(R, N, D) to (R, N, D)."""
        recovered: torch.Tensor = self.encoder(tokens)
        return recovered


def build_recovery(config: V15Config) -> nn.Module:
    """The recovery of a configuration; "off" leaves tokens as they are."""
    layers = config.recovery_layers or RECOVERY_LAYERS[config.recovery]
    if config.recovery == "off":
        return nn.Identity()
    if config.recovery == "thesis":
        return EncoderRecovery(config.context_width, layers)
    return QueryRecovery(config.context_width, layers, config.recovery_queries)


class ThresholdEmbedding(nn.Module):
    """A token that says at which threshold a mask was cut: sinusoids of the threshold itself, through two layers."""

    def __init__(self, sinusoids: int, width: int) -> None:
        super().__init__()
        self.sinusoids = sinusoids
        self.layers = nn.Sequential(nn.Linear(sinusoids, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, thresholds: torch.Tensor) -> torch.Tensor:
        """(R,) in [0, 1] to (R, 1, D)."""
        waves = get_timestep_embedding(thresholds.float(), self.sinusoids, flip_sin_to_cos=True, downscale_freq_shift=0)
        embedded: torch.Tensor = self.layers(waves.to(next(self.parameters()).dtype))
        return embedded[:, None]
