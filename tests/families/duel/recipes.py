"""The recipe table: plain data."""

from typing import Any

TINY: dict[str, Any] = {
    "images": 64,
    "batch_size": 8,
    "micro_batch": 2,
    "kind": "adam",
    "beta1": 0.5,
    "beta2": 0.99,
    "learning_rate": 2e-3,
    "weight_decay": 0.0,
    "precision": "fp32",
    "width": 64,
    "height": 64,
    "checkpoint_images": 16,
    "sample_images": 32,
    "validate_images": 32,
}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "duel.draw": {"tiny": TINY, "base": TINY | {"width": 256, "height": 256}},
    # An encoder alone: everything else stays as the parent has it.
    "duel.tune": {"tiny": TINY | {"parent_stage": "duel.draw"}},
}
