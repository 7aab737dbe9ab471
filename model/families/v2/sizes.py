"""The sizes of v2: those of v1, whose network it is built over, and which of its own parts a network has."""

from dataclasses import dataclass

from model.backbone.split_attention import Lora
from model.families.v1.sizes import V1_SIZES, V1Config


@dataclass(frozen=True, kw_only=True)
class V2Config(V1Config):
    """One size of the `v2` family, over the v1 of that size.

    lora: `split_attention.lora_ranks`. background, style: whether the network has the background encoder and its
    injection, the style encoder and its modulation (`network`). split_encoders: whether these encoders' attention is
    split too, by the mask of the reference. ratio_width: of the sinusoids of one side's ratio; injection_head_width: of
    the heads with which skips read the background.
    """

    lora: Lora = "released-v2"
    background: bool = True
    style: bool = True
    split_encoders: bool = False
    ratio_width: int = 256
    injection_head_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split_encoders and self.lora == "off":
            raise ValueError("split_encoders needs low-rank updates: lora is off")


def _over(size: str, **own: object) -> V2Config:
    return V2Config(**vars(V1_SIZES[size]) | own)


# The tiny and small columns are ours: their skips are too narrow for heads of 64.
V2_SIZES = {
    "tiny": _over("tiny", lora="thesis", ratio_width=16, injection_head_width=32),
    "small": _over("small", lora="thesis", ratio_width=24, injection_head_width=48),
    "base": _over("base"),
}
