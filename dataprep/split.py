"""Which split a row belongs to: a hash of its group (or id), so that no row moves when rows are added."""

from hashlib import sha256
from typing import Literal

Split = Literal["train", "validation"]


def assign_split(key: str, validation_share: float) -> Split:
    """The split of everything that carries `key`, the row's group or, without one, its id.

    A key stays in validation when the share grows. ValueError unless 0 <= validation_share <= 1.
    """
    if not 0.0 <= validation_share <= 1.0:
        raise ValueError(f"validation_share must be in [0, 1], got {validation_share}")
    position = int.from_bytes(sha256(key.encode()).digest()[:8], "big") / 2.0**64
    return "validation" if position < validation_share else "train"
