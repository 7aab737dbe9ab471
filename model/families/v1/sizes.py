"""The sizes of v1: "base" as published, "small" for a first model on two CPU cores within hours, "tiny" for tests.

Sources: ColorizeDiffusion section 3.1, thesis Tables 5.1 and 5.2. The tiny and small columns are ours.
"""

from dataclasses import dataclass

from model.backbone.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class V1Config(BackboneConfig):
    """One size of the `v1` family.

    codec and image_encoder are the ids of the frozen networks whose latents and tokens this size is built for.
    projected_tokens: how many the class token is spread over where reference_tokens is "proj".
    """

    codec: str
    image_encoder: str
    projected_tokens: int = 256


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
    "small": V1Config(
        model_channels=48,
        head_width=48,
        context_width=128,
        codec="small",
        image_encoder="small",
        channel_multipliers=(1, 2, 2, 2),
        norm_groups=16,
        latent_channels=16,
        stem_widths=(8, 8, 16, 16, 32, 32, 64),
    ),
    "base": V1Config(model_channels=320, head_width=64, context_width=1024, codec="sd-vae", image_encoder="ViT-H-14"),
}
