"""The sizes of v1.5: those of v1, whose network it is built over."""

from dataclasses import dataclass
from typing import Literal

from model.backbone.split_attention import Lora
from model.families.v1.sizes import V1_SIZES, V1Config
from model.frozen.config import IMAGE_ENCODERS

Recovery = Literal["off", "thesis", "released"]
ThresholdTokens = Literal["background", "both"]
RECOVERY_LAYERS = {"off": 0, "thesis": 4, "released": 6}  # as published


@dataclass(frozen=True, kw_only=True)
class V15Config(V1Config):
    """One size of the `v15` family, over the v1 of that size.

    lora: `split_attention.lora_ranks`. recovery: what re-encodes the background's tokens (`recovery`), in so many
    recovery_layers, 0: as published; recovery_queries: tokens that the released one gives, as many as the encoder's.
    threshold_width: of the sinusoids of a threshold; threshold_tokens: to which tokens its embedding is added.
    """

    lora: Lora = "released-v15"
    recovery: Recovery = "released"
    recovery_layers: int = 0
    recovery_queries: int = 256
    threshold_width: int = 256
    threshold_tokens: ThresholdTokens = "background"


def _over(size: str, **own: object) -> V15Config:
    config = V1_SIZES[size]
    tokens = IMAGE_ENCODERS[config.image_encoder].local_tokens
    return V15Config(**vars(config) | {"recovery_queries": tokens} | own)


# The tiny and small columns are ours: the thesis's recovery begins near what it is given, so it learns from less.
V15_SIZES = {
    "tiny": _over("tiny", lora="thesis", recovery="thesis", recovery_layers=2, threshold_width=32),
    "small": _over("small", lora="thesis", recovery="thesis", recovery_layers=2, threshold_width=32),
    "base": _over("base"),
}
