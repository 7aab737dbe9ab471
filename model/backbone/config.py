"""Sizes of the models and of the frozen networks around them: data, never another class.

Sources: ColorizeDiffusion section 3.1 and thesis Table 5.1 (the backbone has the shape of Stable Diffusion 2.1),
thesis Table 5.2 (sketch encoder), OpenCLIP ViT-H-14 (image encoder).
"""

from dataclasses import dataclass
from typing import Literal

Tokens = Literal["local", "cls", "proj"]
RELEASED = "released"  # the stage of a checkpoint whose weights the published code trained


@dataclass(frozen=True)
class V1Config:
    """One size of the `v1` family; widths in channels.

    codec and image_encoder are the ids of the frozen networks whose latents and tokens this size is built for.
    reference_tokens: "local", the encoder's local tokens as proposed; "cls", its class token alone; "proj", the class
    token spread over projected_tokens of them by two linear layers (ColorizeDiffusion section 4.2, the ablations).
    """

    model_channels: int
    head_width: int
    context_width: int
    codec: str
    image_encoder: str
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    norm_groups: int = 32
    latent_channels: int = 4
    sketch_channels: int = 3
    stem_widths: tuple[int, ...] = (16, 16, 32, 32, 96, 96, 256)  # of the sketch encoder, thesis Table 5.2
    reference_tokens: Tokens = "local"
    projected_tokens: int = 256

    def __post_init__(self) -> None:
        if self.model_channels % self.norm_groups or self.model_channels % self.head_width:
            raise ValueError(
                f"model_channels={self.model_channels} must be a multiple of norm_groups={self.norm_groups} "
                f"and of head_width={self.head_width}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of each level of the UNet, finest first."""
        return tuple(self.model_channels * multiplier for multiplier in self.channel_multipliers)


V1_SIZES = {
    "tiny": V1Config(
        model_channels=32,
        head_width=32,
        context_width=128,
        codec="tiny",
        image_encoder="tiny",
        channel_multipliers=(1, 2, 2, 2),
        latent_channels=8,
        stem_widths=(8, 8, 16, 16, 32, 32, 64),
    ),
    "base": V1Config(model_channels=320, head_width=64, context_width=1024, codec="sd-vae", image_encoder="ViT-H-14"),
}


@dataclass(frozen=True)
class CodecConfig:
    """A KL autoencoder; scaling_factor None = stored beside the weights.

    pixel_unshuffle folds squares of so many pixels a side into channels before the first convolution and unfolds them
    after the last: the tiny size then spends nothing on full-resolution layers, the dearest ones on a CPU.
    linear_path adds a linear map of each square of pixels to its latent, and back, beside the networks: started at the
    principal components of pictures it carries most of them, so that a few minutes teach the networks the rest.
    """

    block_channels: tuple[int, ...]
    layers_per_block: int
    norm_groups: int
    mid_attention: bool
    scaling_factor: float | None
    latent_channels: int = 4
    pixel_unshuffle: int = 1
    linear_path: bool = False

    @property
    def downsampling(self) -> int:
        """Pixels per latent, along each side."""
        return int(self.pixel_unshuffle * 2 ** (len(self.block_channels) - 1))


CODECS = {
    "tiny": CodecConfig(
        (64, 88),
        layers_per_block=1,
        norm_groups=8,
        mid_attention=False,
        scaling_factor=None,
        latent_channels=8,
        pixel_unshuffle=4,
        linear_path=True,
    ),
    "sd-vae": CodecConfig(
        (128, 256, 512, 512), layers_per_block=2, norm_groups=32, mid_attention=True, scaling_factor=0.18215
    ),
}


@dataclass(frozen=True)
class ImageEncoderConfig:
    """A CLIP vision transformer: (image_size / patch_size) ** 2 local tokens and one class token of output_width."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    output_width: int

    @property
    def local_tokens(self) -> int:
        """Number of local tokens, the class token not counted."""
        return (self.image_size // self.patch_size) ** 2


IMAGE_ENCODERS = {
    "tiny": ImageEncoderConfig(image_size=64, patch_size=8, width=128, layers=4, heads=4, output_width=128),
    "ViT-H-14": ImageEncoderConfig(image_size=224, patch_size=14, width=1280, layers=32, heads=16, output_width=1024),
}
