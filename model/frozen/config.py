"""Sizes of the frozen networks around the families: data, never another class.

Source: OpenCLIP ViT-H-14 (image encoder), Stable Diffusion's autoencoder; the tiny ones are ours.
"""

from dataclasses import dataclass

SHIPPED = ("tiny", "small")  # ids of codecs and image encoders whose weights come with the project


@dataclass(frozen=True)
class CodecConfig:
    """A KL autoencoder; scaling_factor None = stored beside the weights.

    pixel_unshuffle folds squares of so many pixels a side into channels before the first convolution and unfolds them
    after the last: the tiny size then spends nothing on full-resolution layers, the dearest ones on a CPU.
    linear_path adds a linear map of each square of pixels to its latent, and back, beside the networks: started at the
    principal components of pictures it carries most of them, so that a few minutes teach the networks the rest.
    network_encoder False: the linear map alone encodes, so that training a denoiser pays nothing for its latents, and a
    decoder that was trained further fits every denoiser that was trained before.
    """

    block_channels: tuple[int, ...]
    layers_per_block: int
    norm_groups: int
    mid_attention: bool
    scaling_factor: float | None
    latent_channels: int = 4
    pixel_unshuffle: int = 1
    linear_path: bool = False
    network_encoder: bool = True

    def __post_init__(self) -> None:
        if not (self.linear_path or self.network_encoder):
            raise ValueError("without a network that encodes, a codec needs linear_path=true")

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
    "small": CodecConfig(
        (64, 128),
        layers_per_block=1,
        norm_groups=8,
        mid_attention=False,
        scaling_factor=None,
        latent_channels=16,
        pixel_unshuffle=4,
        linear_path=True,
        network_encoder=False,
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
    "small": ImageEncoderConfig(image_size=96, patch_size=8, width=128, layers=4, heads=4, output_width=128),
    "ViT-H-14": ImageEncoderConfig(image_size=224, patch_size=14, width=1280, layers=32, heads=16, output_width=1024),
}
