"""What an export takes and in which layout: settings apart from the work, so that a wrong call is refused at once."""

from dataclasses import dataclass

LAYOUT_NAMES = ("wide", "webdataset", "folders", "official")  # the keys of export_layouts.LAYOUTS


@dataclass(frozen=True)
class ExportSettings:
    """`columns`: the derived columns to take, all by default; `split`: one of them, both by default; `style`: the
    sketch of the official layout; `limit`: the first N rows.
    """

    layout: str
    columns: tuple[str, ...] = ()
    split: str | None = None
    style: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUT_NAMES:
            raise ValueError(f"layout must be one of {', '.join(LAYOUT_NAMES)}, got {self.layout!r}")
        if self.layout == "official" and self.columns:
            raise ValueError("the official layout has columns of its own: color, a sketch (style) and mask")
        if self.layout != "official" and self.style is not None:
            raise ValueError(f"style chooses the sketch of the official layout; for {self.layout} name columns")
        if self.layout == "folders" and self.columns and "color" not in self.columns:
            raise ValueError("the folders layout needs the column color")
