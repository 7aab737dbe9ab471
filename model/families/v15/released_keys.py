"""Our parameter names and those of the released ColorizeDiffusion v1.5 ("switch") files.

The v1 in it is named as in v1's files; the low-rank updates lie within the projections, recovery transformer and
threshold embedder beside the UNet. Released files have the released shapes of both alone.
"""

import re

from model.errors import ModelError
from model.families.v1.released_keys import published_name as v1_name
from model.families.v1.sizes import V1Config
from model.families.v15.sizes import V15Config

_UPDATE = re.compile(r"\.(foreground|background)_(down|up)\.weight$")
_SHORT = {"foreground": "fg", "background": "bg"}
_RECOVERY = {"norm1": "0", "norm2": "1", "attention": "2", "mlp": "3"}


def published_name(name: str, config: V15Config) -> str:
    """The official key of one of our parameter names. Raises ModelError for shapes that were not released."""
    if config.recovery != "released" or config.lora != "released-v15":
        raise ModelError(
            "the released layout has recovery=released and lora=released-v15, "
            f"not recovery={config.recovery} and lora={config.lora}"
        )
    part, rest = name.split(".", 1)
    if part == "threshold_embedding":
        return f"thresh_embedder.embed_layer.{rest.removeprefix('layers.')}"
    if part == "recovery":
        return f"transformer.{_recovery_name(rest)}"
    return split_name(name, config)


def split_name(name: str, config: V1Config) -> str:
    """The official key of a parameter of a v1 whose attention is split: v1's, or that of a low-rank update within it.

    Raises ModelError.
    """
    if update := _UPDATE.search(name):
        region, direction = update.groups()
        linear = v1_name(name[: update.start()] + ".weight", config).removesuffix(".weight")
        return f"{linear}.lora_{direction}_{_SHORT[region]}.weight"
    return v1_name(name, config)


def _recovery_name(name: str) -> str:
    if name == "queries":
        return "embedding"
    layers, number, part, leaf = name.split(".", 3)
    return f"{layers}.{number}.{_RECOVERY[part]}.{leaf}"
