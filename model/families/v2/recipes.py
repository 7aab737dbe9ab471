"""The recipes of v2's stages, as plain data: over v1's network, as published at 768 to 1280 pixels.

"Separating Reference Representations" III.E and IV.A, thesis 5.6.1. No source gives the length of any stage: the
published epochs of v1's two, and an epoch for each of the others, are ours. docs/recipes.md has the rows.
"""

from typing import Any

from model.families.v1.recipes import PALETTE, PUBLISHED, SMALL, TINY

# Sizes and aspect ratios are random (IV.A); the released code has v1's buckets: --set sizes=buckets bucket_sizes=v1.
# The micro-batch is ours, not measured: at 1280 x 1280 sixteen would hardly fit.
PUBLISHED_SIZES: dict[str, Any] = {"sizes": "random", "width": 1024, "height": 1024, "micro_batch": 2}
BACKBONE: dict[str, Any] = {"phase": "whole", "noisy_reference": True, "reference_drop": 0.5}
BACKGROUND: dict[str, Any] = {
    "phase": "background", "reference_drop": 0.5, "blank_sketch": True, "bleached_share": 0.05, "merged_share": 0.1,
}  # fmt: skip
STYLE: dict[str, Any] = {"phase": "style", "reference_drop": 0.5}
# The ablations: all parts trained at once with the backbone (Fig. 11 E), the style encoder so (Fig. 12).
JOINT: dict[str, Any] = {"phase": "joint", "reference_drop": 0.5}
JOINT_STYLE: dict[str, Any] = {"phase": "joint-style", "reference_drop": 0.5}
# Ours, as v1's: other drawings as references, so that training meets references as users give them.
OF_PALETTE: dict[str, Any] = {name: PALETTE[name] for name in ("sketch_crop_max", "recolored", "palette_references")}

#    stage, what is published of it or ours, epochs, the images at the tiny and at the small size
TABLE: tuple[tuple[str, dict[str, Any], float, int, int], ...] = (
    ("v2.backbone", BACKBONE, 8.0, 16_000, 64_000),
    ("v2.background", BACKGROUND, 1.0, 4_000, 16_000),
    ("v2.style", STYLE, 1.0, 4_000, 16_000),
    ("v2.joint", JOINT, 10.0, 24_000, 96_000),
    ("v2.joint-style", JOINT_STYLE, 10.0, 24_000, 96_000),
    ("v2.palette-backbone", BACKBONE | OF_PALETTE, 8.0, 16_000, 64_000),
    ("v2.palette-background", BACKGROUND | OF_PALETTE, 1.0, 4_000, 16_000),
    ("v2.palette-style", STYLE | OF_PALETTE, 1.0, 4_000, 16_000),
)


def _sized(settings: dict[str, Any], usual: dict[str, Any], images: int) -> dict[str, Any]:
    return {"parent_stage": None, **usual, **settings, "images": images, "decay_images": images // 4}


RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    stage: {
        "base": {"parent_stage": None, **PUBLISHED, **PUBLISHED_SIZES, **settings, "epochs": epochs},
        "small": _sized(settings, SMALL, small),
        "tiny": _sized(settings, TINY, tiny),
    }
    for stage, settings, epochs, tiny, small in TABLE
}
