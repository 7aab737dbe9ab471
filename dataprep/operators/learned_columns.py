"""Which columns a recipe derives by networks, beside the sketches."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LearnedSettings:
    """Which columns beside the sketches are derived by networks; names are those of model.weights.catalogue."""

    mask: Literal["", "isnetis", "isnet_general"] = ""  # for pictures that come without alpha and mask
    sketch_mask: Literal["", "isnet_sketch"] = ""
    tagger: str = ""  # wd_swinv2_v2, wd_swinv2_v3, ...: the columns `predicted_tags`
    aesthetic: bool = False  # 1 to 10
