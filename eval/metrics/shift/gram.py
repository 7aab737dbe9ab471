"""Gram divergence: how much a reference moves the layout of what is drawn.

The Gram matrix of a picture says of every two places how alike they are to a network: its layout, whatever its colours.
"Towards High-resolution and Disentangled Reference-based Sketch Colorization" (Fig. 3) compares it with that of the
picture coloured without a reference, whose layout is the sketch's alone. The mean squared difference of both matrices,
of features of unit length, is the divergence: 0 where the reference moves nothing.

`gram_encoder` sees both pictures with CLIP, so that it compares any models. `gram_denoiser_<family>_<block>` looks into
the scored denoiser at its last step, without guidance; its numbers mean something within one family alone, whose name
is part of the score's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from eval.metrics.metric import Metric, means


class Divergence(NamedTuple):
    """values: (B,); places: (B, h, w), by place; name: of the network and block that were looked into."""

    values: Tensor
    places: Tensor
    name: str


def gram_divergence(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(divergence (B,), the share of each place (B, N)) of features (B, N, D); the first is the mean of the second."""
    one, other = (torch.nn.functional.normalize(features.float(), dim=-1) for features in (first, second))
    places = (one @ one.mT - other @ other.mT).square().mean(dim=-1)
    return places.mean(dim=-1), places


def _encoder(result: Tensor, seen: Tensor) -> dict[str, Tensor]:
    return {"gram_encoder": seen[:, 0]}


def _encoder_map(result: Tensor, seen: Tensor) -> Tensor:
    side = int((seen.shape[1] - 1) ** 0.5)
    return _shown(seen[:, 1:].unflatten(1, (side, side)))


def _denoiser(result: Tensor, divergence: Divergence) -> dict[str, Tensor]:
    return {f"gram_denoiser_{divergence.name}": divergence.values}


def _denoiser_map(result: Tensor, divergence: Divergence) -> Tensor:
    return _shown(divergence.places)


def _shown(places: Tensor) -> Tensor:
    """Divergences as a map in [0, 1]: a difference of similarity of 0.5 is the darkest."""
    return (places.sqrt() * 2).clamp(0, 1)


GRAM_ENCODER = Metric(
    name="gram_encoder",
    title="layout moved by the reference",
    needs=("result+unreferenced@gram_vith14",),
    measure=_encoder,
    heat_map=_encoder_map,
    summarize=means(),
    scores="gram_encoder",
    better="lower",
    meaning="how much the reference moves the layout, by CLIP; 0 is not at all",
    source="Dual-branch Gram paper, Fig. 3, as a measure; CLIP ViT-H-14 is ours",
)
GRAM_DENOISER = Metric(
    name="gram_denoiser",
    title="layout moved in the denoiser",
    needs=("denoiser_divergence",),
    measure=_denoiser,
    heat_map=_denoiser_map,
    summarize=means(),
    scores="gram_denoiser",
    better="lower",
    meaning="how much the reference moves the layout inside the denoiser (of one family); 0 is not at all",
    source="Dual-branch Gram paper, Fig. 3, as a measure",
)
