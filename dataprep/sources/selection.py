"""Which items of a source are taken at all: settings only, so that a recipe can name them without loading anything."""

import re
from dataclasses import dataclass

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


@dataclass(frozen=True)
class Selection:
    """What the source says about a picture decides, before a byte of it is read. None and () ask for nothing.

    An item that lacks a value which a rule asks for is not taken. Tags are compared as the source writes them (on
    Danbooru `artist:...`, `character:...`, `copyright:...`, `meta:...`, plain for general ones). Sizes, in pixels, are
    those the source states, of the original picture. Dates are ISO, whole years and months too, ends included.
    `group_by`: "auto" (the group that the source gives; on Danbooru the pool, else the parent), "pool", "parent",
    "none", or a column of an index, a metadata table or a side file (on Danbooru also artist, character, copyright).
    """

    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    no_tags: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    min_score: float | None = None
    max_score: float | None = None
    min_side: int | None = None  # of the shorter side
    max_side: int | None = None  # of the longer side
    date_from: str | None = None
    date_to: str | None = None
    group_by: str = "auto"
    take_deleted: bool = False
    take_banned: bool = False

    def __post_init__(self) -> None:
        for name in ("date_from", "date_to"):
            value = getattr(self, name)
            if value is not None and not _DATE.fullmatch(value):
                raise ValueError(f"{name} must be YYYY, YYYY-MM or YYYY-MM-DD, got {value!r}")
        for what in ("score", "side"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{what} {low} is above max_{what} {high}: nothing would be taken")
        if not self.group_by:
            raise ValueError("group_by must be auto, pool, parent, none or a column")

    @property
    def column(self) -> str | None:
        """The column of the source that gives the groups, where it is not one that all sources share."""
        return None if self.group_by in ("auto", "pool", "parent", "none") else self.group_by
