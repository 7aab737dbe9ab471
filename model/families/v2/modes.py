"""The modes of v2 ("Separating Reference Representations" III.F): what each switches on, and so reads."""

from collections.abc import Mapping

from model.diffusion.sampling_settings import SEPARATION_CONTROLS
from model.families.v2.sizes import V2Config
from model.families.v15.modes import PARTED

# "split" is Fig. 11 B: split attention without the encoders.
PARTS: Mapping[str, frozenset[str]] = {
    "vanilla": frozenset(),
    "style": frozenset({"style"}),
    "split": frozenset({"split"}),
    "background": frozenset({"split", "background"}),
    "full": frozenset({"split", "background", "style"}),
}
# Of a background of its own the style is blended in.
STYLE = frozenset({"background", "merging_scale"})
V2_MODES: Mapping[str, frozenset[str]] = {
    "vanilla": frozenset(),
    "style": STYLE,
    "split": PARTED,
    "background": PARTED | {"background_factor"},
    "full": PARTED | STYLE | {"background_factor"},
}
V2_CONTROLS = SEPARATION_CONTROLS


def parts_of(config: V2Config) -> frozenset[str]:
    """What a network has beside its backbone; what reads a background is split, with or without low-rank updates."""
    found = {"split": config.lora != "off" or config.background, "background": config.background, "style": config.style}
    return frozenset(name for name, there in found.items() if there)


def usual_mode(config: V2Config) -> str:
    """The mode that uses all that a network has."""
    has = parts_of(config)
    return max((mode for mode, parts in PARTS.items() if parts <= has), key=lambda mode: len(PARTS[mode]))


def lacking(config: V2Config, mode: str) -> str:
    """What a network has not that one of the modes needs, as a sentence's end; empty where it has all."""
    if not (missing := sorted(PARTS[mode] - parts_of(config) - {"split"})):
        return ""
    made_by = " and ".join(f"v2.{part}" for part in missing)
    return f"needs a {' and a '.join(missing)} encoder, which this network was not trained with: {made_by} makes one"
