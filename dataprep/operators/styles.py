"""Which sketches a row gets: a share of the rows for each style, drawn by seed and id.

The papers use several extractors, so that a model learns line art and not one extractor's habits (thesis 3.2), and
simplify 30 % of the sketches once more. Rows, their order and other styles do not matter to a draw: adding a style, or
raising a share, leaves what was drawn as it is.
"""

from dataclasses import dataclass, fields
from hashlib import sha256

WITHOUT_NETWORK = ("xdog", "xdog_common")
REWORKED = {"simplified": "keras", "xdog_simplified": "xdog"}  # from another style by a network


@dataclass(frozen=True)
class StyleSettings:
    """The share of rows, 0 to 1, that get `sketch_<style>`. The artist's own line art (`drawn`) is always taken.

    `keras`, `keras_plain` and `keras_pured` are three readings of one network. `simplified` is `keras` once more
    through anime2sketch (thesis 3.2), `xdog_simplified` is `xdog` through sketch simplification (RASC IV.B): a row
    that draws one of these gets what it is made from as well.
    """

    xdog: float = 1.0
    xdog_common: float = 0.0
    keras: float = 0.0
    keras_plain: float = 0.0
    keras_pured: float = 0.0
    manga_line: float = 0.0
    anime2sketch: float = 0.0
    anime2sketch_improved: float = 0.0
    lineart_sk: float = 0.0
    hed: float = 0.0
    simplified: float = 0.0
    xdog_simplified: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"a share lies between 0 and 1, {field.name} is {getattr(self, field.name)}")

    def share(self, style: str) -> float:
        """The share of rows that draw `style`."""
        value: float = getattr(self, style)
        return value

    def wanted_by(self, style: str) -> dict[str, float]:
        """The shares that decide which rows get `style`: its own, and those of styles made from it."""
        names = (style, *(name for name, source in REWORKED.items() if source == style))
        return {name: self.share(name) for name in names if self.share(name) > 0}

    def is_everywhere(self, style: str) -> bool:
        """Whether every row gets `style`."""
        return 1 in self.wanted_by(style).values()

    def is_made(self, style: str) -> bool:
        """Whether any row gets `style`, for itself or for what is made from it."""
        return bool(self.wanted_by(style))


# From the picture, by a network: every other style that can have a share.
EXTRACTED = tuple(field.name for field in fields(StyleSettings) if field.name not in (*WITHOUT_NETWORK, *REWORKED))


def has_style(row_id: str, seed: int, style: str, settings: StyleSettings) -> bool:
    """Whether a row gets `style`: drawn for itself, or needed for a style that was."""
    return any(_draws(row_id, seed, name) < share for name, share in settings.wanted_by(style).items())


def _draws(row_id: str, seed: int, style: str) -> float:
    """A number in [0, 1) of (seed, style, row) alone."""
    digest = sha256(f"{seed}:{style}:{row_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
