"""What the parts of the Stable Diffusion shape need to know of a network; families add what else is theirs.

Sources: ColorizeDiffusion section 3.1 (the backbone is that of Stable Diffusion 2.1) and thesis Table 5.2 (sketch
encoder). Thesis Table 5.1 draws the backbone with attention in its levels of 1/2, 1/4 and 1/8 and none in the finest;
Stable Diffusion 2.1, whose weights it starts from, has it in the finest three and none at 1/8, and so has this one.
"""

from dataclasses import dataclass
from typing import Literal

ReferenceTokens = Literal["local", "cls", "proj"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """One size of a denoising UNet with its sketch encoder; widths in channels.

    reference_tokens: "local", the encoder's local tokens as proposed; "cls", its class token alone; "proj", the class
    token spread over many by two linear layers (ColorizeDiffusion section 4.2, the ablations).
    """

    model_channels: int
    head_width: int
    context_width: int
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    norm_groups: int = 32
    latent_channels: int = 4
    sketch_channels: int = 3
    stem_widths: tuple[int, ...] = (16, 16, 32, 32, 96, 96, 256)  # of the sketch encoder, thesis Table 5.2
    reference_tokens: ReferenceTokens = "local"

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
