"""The recipes of v1.5's stages, as plain data: over a frozen v1, at v1's sizes.

No source gives their length, their rate or how often they drop a reference: those of the refinement are taken, and the
lengths are ours. Sizes are the released configuration's (512 of 544 pixels). docs/recipes.md has the rows.
"""

from typing import Any

from model.families.v1.recipes import PALETTE, PUBLISHED, SMALL, TINY

SPLIT: dict[str, Any] = {"reference_drop": 0.5, "rescale_max": 544 / 512}
# The configurations of thesis 5.5.5 above the baseline, which is the v1 below: each has what the one before it has.
ATTENTION: dict[str, Any] = SPLIT | {"lora": "off", "recovery": "off"}
LORA: dict[str, Any] = SPLIT | {"recovery": "off"}
# Ours, as v1's: other drawings as references, so that training meets references as users give them.
OF_PALETTE: dict[str, Any] = SPLIT | PALETTE

#    stage, what is published of it or ours, the images at the tiny and at the small size
TABLE: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("v15.split", SPLIT, 4_000, 16_000),
    ("v15.lora", LORA, 4_000, 16_000),
    ("v15.attention", ATTENTION, 1_000, 4_000),
    ("v15.palette", OF_PALETTE, 4_000, 8_000),
)


def _sized(settings: dict[str, Any], usual: dict[str, Any], images: int) -> dict[str, Any]:
    return {"parent_stage": None, **usual, **settings, "images": images, "decay_images": images // 2}


RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    stage: {
        "base": {"parent_stage": None, **PUBLISHED, **settings, "epochs": 1.0},
        "small": _sized(settings, SMALL, small),
        "tiny": _sized(settings, TINY, tiny),
    }
    for stage, settings, tiny, small in TABLE
}
