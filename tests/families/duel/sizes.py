"""The sizes of the two networks; widths in channels."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DuelConfig:
    """One size."""

    width: int


SIZES = {"tiny": DuelConfig(width=8), "base": DuelConfig(width=64)}
