"""The number formats in which networks compute, under one set of names: fp32, fp16 and bf16.

Recipes of corpora, and torch, spell them out ("float16"); both spellings are understood. Nothing heavy is imported
until a dtype is wanted.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "fp16", "bf16"]
AnyPrecision = Literal["float32", "float16", "bfloat16", "fp32", "fp16", "bf16"]  # in either spelling
SPELLED_OUT: Mapping[Precision, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def spelled_out(precision: str) -> str:
    """Torch's name of a precision in either spelling. Raises ValueError for others, naming those that are known."""
    for short, whole in SPELLED_OUT.items():
        if precision in (short, whole):
            return whole
    raise ValueError(f"there is no precision {precision!r}; known: {', '.join(SPELLED_OUT)}")


def dtype_of(precision: str) -> "torch.dtype":
    """The torch dtype of a precision in either spelling."""
    import torch

    found: torch.dtype = getattr(torch, spelled_out(precision))
    return found
