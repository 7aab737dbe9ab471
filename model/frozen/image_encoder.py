"""The reference encoder: a CLIP vision transformer whose local tokens carry the colours of a reference picture.

The picture is squashed to the encoder's square (aspect ratio is not kept), as the papers do. Tokens depend on how it is
resampled, so weights are used behind the squash they were trained behind. "tiny" and "small" ship with the repository;
"ViT-H-14" is OpenCLIP laion2b_s32b_b79k, whose file the user names. ColorizeDiffusion section 3.1.

Shapes: B batch, h w picture of any size, N local tokens, D output width.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import nn

from model.errors import ModelError
from model.frozen.config import IMAGE_ENCODERS, SHIPPED, ImageEncoderConfig
from model.weights.reading import ASSETS, load_strictly, read_tensors

Tokens = Literal["local", "cls", "full"]
Squash = Callable[[torch.Tensor, int], torch.Tensor]

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def squash(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (B, 3, h, w) in [-1, 1] to (B, 3, side, side) as training squashes them (`dataprep.resize`), in float.

    Each side is averaged over areas where it shrinks, and then bicubic where it grows.
    """
    height, width = images.shape[-2:]
    if height > side:
        images = _area_weights(height, side).to(images) @ images
    if width > side:
        images = images @ _area_weights(width, side).T.to(images)
    if min(height, width) < side:
        images = F.interpolate(images, size=(side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
    return images


def released_squash(images: torch.Tensor, side: int) -> torch.Tensor:
    """As the published code does: bicubic, antialiased where images shrink, corners aligned."""
    return F.interpolate(images, size=(side, side), mode="bicubic", align_corners=True, antialias=True)


def _area_weights(before: int, after: int) -> torch.Tensor:
    """The share (after, before) that each old pixel has of each new one, float64; each row sums to 1."""
    edges = torch.arange(after + 1, dtype=torch.float64)[:, None] * (before / after)
    pixels = torch.arange(before)
    return (edges[1:].minimum(pixels + 1) - edges[:-1].maximum(pixels)).clamp(min=0) * (after / before)


def widen(images: torch.Tensor, factor: float) -> torch.Tensor:
    """White margins left and right of images (B, 3, h, w), to int(factor w) pixels: the released reference padding.

    The squashed reference then shows its objects narrower, and paper beside them. factor >= 1.
    """
    width = images.shape[-1]
    margin = int(width * factor) - width
    return F.pad(images, (margin // 2, margin - margin // 2), value=1.0)


class ReferenceEncoder(nn.Module):
    """CLIP image tower whose tokens all go through the final norm and the projection.

    squash: how pictures come to its square; `released_squash` for weights that the published code trained.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.squash: Squash = squash
        self.vit = VisionTransformer(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            mlp_ratio=4.0,
            output_dim=config.output_width,
            output_tokens=True,
        )
        self.register_buffer("mean", torch.tensor(_CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_CLIP_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor, tokens: Tokens = "local") -> torch.Tensor:
        """See encode."""
        return self.encode(images, tokens)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.vit.proj.dtype

    def encode(self, images: torch.Tensor | Sequence[torch.Tensor], tokens: Tokens = "local") -> torch.Tensor:
        """Tokens (B, N, D) of images (B, 3, h, w) in [-1, 1]; "cls": (B, 1, D); "full": class token first, N + 1.

        Images of different sizes come as a sequence of B tensors (3, h, w).
        """
        batches = [images] if isinstance(images, torch.Tensor) else [image[None] for image in images]
        squashed = torch.cat([self.squash(batch, self.config.image_size) for batch in batches])
        pixels = ((squashed + 1) / 2 - self.mean) / self.std
        cls, local = self.vit(pixels.to(self.dtype))
        if tokens == "cls":
            return cls[:, None]
        local = local @ self.vit.proj  # open_clip projects the class token only
        return local if tokens == "local" else torch.cat([cls[:, None], local], dim=1)


def build_image_encoder(encoder: str) -> ReferenceEncoder:
    """The image encoder of that id with fresh weights."""
    _check_known(encoder)
    return ReferenceEncoder(IMAGE_ENCODERS[encoder])


def _check_known(encoder: str) -> None:
    if encoder not in IMAGE_ENCODERS:
        raise ModelError(f"there is no image encoder {encoder!r}; known: {', '.join(IMAGE_ENCODERS)}")


def load_image_encoder(encoder: str, weights: Path | None = None) -> ReferenceEncoder:
    """The frozen encoder of that id in evaluation mode, float32.

    weights: an OpenCLIP safetensors file (its text tower is ignored); those that ship need none. Raises ModelError when
    it is missing or does not fit.
    """
    _check_known(encoder)
    if weights is None and encoder in SHIPPED:
        weights = ASSETS / f"{encoder}_image_encoder.safetensors"
    if weights is None:
        raise ModelError(f"the image encoder {encoder!r} needs its weights: name the OpenCLIP safetensors file")
    prefix = "visual."
    visual = {
        name.removeprefix(prefix): tensor for name, tensor in read_tensors(weights).items() if name.startswith(prefix)
    }
    model = build_image_encoder(encoder)
    load_strictly(model.vit, visual, weights)
    return model.eval().requires_grad_(False)
