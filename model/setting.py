"""A setting with its documentation: a dataclass field that also holds its help, panel and range.

What is known of a setting stands in one place, beside its name, type and default. `check_ranges` checks a settings
object by it, and the command line builds its options from it (`jobs.settings_options`). Nothing heavy is imported here.
"""

from dataclasses import dataclass, field, fields
from math import inf, isfinite
from typing import Any

_KEY = "setting"  # of a field's metadata
EPSILON = 1e-12  # the least of a rate or a length that may not be nothing


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a person reads of a setting, and the range that is allowed.

    help: what it does; range, choices and default are added where it is shown. panel: the heading under which it is
    shown. least, most: the ends of its range, both included; None: open. option: its name on the command line where
    that is not its own. metavar: what its value looks like, where type and range do not show it. unset: what a default
    of None, or an empty one, means. before_default: what gives the value where the call does not, before the default.
    """

    help: str
    panel: str
    least: float | None = None
    most: float | None = None
    option: str = ""
    metavar: str = ""
    unset: str = ""
    before_default: str = ""

    def check(self, name: str, value: float) -> None:
        """Raises ValueError, which begins with `name=value`, unless the value is finite and within the range."""
        if self.least is not None or self.most is not None:
            check_range(
                name, value, -inf if self.least is None else self.least, inf if self.most is None else self.most
            )


def setting(default: Any, **documentation: Any) -> Any:
    """A dataclass field with this default and the `Setting` of these arguments."""
    return field(default=default, metadata={_KEY: Setting(**documentation)})


def documented(settings: Any) -> dict[str, Setting]:
    """Of a settings class or object: the fields that were declared by `setting`, in their order."""
    return {item.name: item.metadata[_KEY] for item in fields(settings) if _KEY in item.metadata}


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Raises ValueError for the first documented field that is outside its range; `prefix` stands before its name."""
    for name, documentation in documented(settings).items():
        documentation.check(prefix + name, getattr(settings, name))


def check_range(name: str, value: float, low: float, high: float = inf) -> None:
    """Raises ValueError unless low <= value <= high and value is finite."""
    if not (low <= value <= high and isfinite(value)):
        allowed = f"within {low:g}..{high:g}" if isfinite(high) else f"a finite number of at least {low:g}"
        raise ValueError(f"{name}={value:g} is not {allowed}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError that names the choices unless `value` is one of them."""
    if value not in choices:
        *others, last = choices
        raise ValueError(f"{name} is {', '.join(others)} or {last}, not {value}")
