"""The modes of networks that part figure from ground: what each reads. Nothing heavy is imported here."""

from collections.abc import Mapping

MASKS = frozenset({"sketch_mask", "reference_mask"})
SPLIT = frozenset({"sketch_threshold", "foreground_strength", "background_strength", "merging_scale"})
# The figure after the whole reference, the ground after its background or a picture of its own.
PARTED = MASKS | SPLIT | {"background", "reference_threshold"}

V15_MODES: Mapping[str, frozenset[str]] = {
    "vanilla": frozenset(),
    "foreground": SPLIT | {"sketch_mask"},
    "background": PARTED,
    "full": PARTED,
    "released-full": PARTED,
}
V15_CONTROLS = frozenset({"mode", "reference_threshold"}) | SPLIT
