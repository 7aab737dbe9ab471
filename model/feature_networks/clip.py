"""CLIP (Radford et al. 2021) as metrics use it: pictures and words as vectors in one space.

OpenCLIP's ViT-H-14 laion2b_s32b_b79k, the reference encoder of v1, is our choice for the CLIP scores: no paper names
the model that it scores with. OpenAI's ViT-L-14 at 336 pixels is that of CMMD (Jayasumana et al. 2024).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU, TextTransformer, VisionTransformer
from torch import Tensor, nn

from model.feature_networks.squashing import Pictures, antialiased, normalized

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_vitl14_336(width: int = 1024, layers: int = 24, heads: int = 16) -> nn.Module:
    """OpenAI's ViT-L-14 at 336 pixels without its text tower, under `visual.` as OpenCLIP has it."""
    tower = nn.Module()
    tower.visual = VisionTransformer(
        image_size=336,
        patch_size=14,
        width=width,
        layers=layers,
        heads=heads,
        mlp_ratio=4.0,
        output_dim=768,
        output_tokens=True,
        act_layer=QuickGELU,
    )
    return tower


def clip_vith14_text(width: int = 1024, layers: int = 24, heads: int = 16) -> nn.Module:
    """The text tower of OpenCLIP's ViT-H-14, under the keys that it has in the whole model."""
    network: nn.Module = TextTransformer(width=width, layers=layers, heads=heads, output_dim=1024)
    return network


def image_features(tower: Any, pictures: Pictures) -> Tensor:
    """(B, D) of pictures in [0, 1]: the projected class token, of any length."""
    side = tower.visual.image_size[0]
    squashed = normalized(antialiased(pictures, side), _MEAN, _STD)
    found: Tensor = tower.visual(squashed)[0]
    return found


def gram_divergence(tower: Any, first: Tensor, second: Tensor) -> Tensor:
    """(B, 1 + N): the mean squared difference of both pictures' Gram matrices, and of each of the N places its share.

    A Gram matrix holds the cosine similarity of every two local tokens. Pictures (B, 3, H, W) in [0, 1].
    """
    side = tower.visual.image_size[0]
    grams = []
    for pictures in (first, second):
        tokens = tower.visual(normalized(antialiased(pictures, side), _MEAN, _STD))[1]
        unit = torch.nn.functional.normalize(tokens, dim=-1)
        grams.append(unit @ unit.mT)
    places = (grams[0] - grams[1]).square().mean(dim=-1)
    return torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)


def text_features(tower: nn.Module, texts: Sequence[str]) -> Tensor:
    """(B, D) of texts; what is beyond 77 tokens is not read. NaN for an empty one, which says nothing."""
    device = next(tower.parameters()).device
    found: Tensor = tower(_tokenizer()(list(texts)).to(device))
    empty = torch.tensor([not text.strip() for text in texts], device=device)
    return found.masked_fill(empty[:, None], float("nan"))


@cache
def _tokenizer() -> SimpleTokenizer:
    """The vocabulary comes with OpenCLIP's package."""
    return SimpleTokenizer()
