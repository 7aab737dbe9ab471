"""The values that a setting may take, checked in one place, so that every settings class refuses in the same words."""

from collections.abc import Mapping
from typing import Any

MANY = 2**62  # no upper end
EPSILON = 1e-12  # the least of a rate or a length that may not be nothing


def check_ranges(settings: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises ValueError unless each field named in `ranges` (several by spaces) lies within, ends included."""
    for names, (low, high) in ranges.items():
        for name in names.split():
            if not low <= getattr(settings, name) <= high:
                raise ValueError(f"{name} must be {f'from {low} to {high}' if high < MANY else f'at least {low}'}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError that names the choices unless `value` is one of them."""
    if value not in choices:
        *others, last = choices
        raise ValueError(f"{name} is {', '.join(others)} or {last}, not {value}")
