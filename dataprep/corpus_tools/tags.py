"""Tags where they are used: those of a picture's source, those that a tagger predicted, and captions of either.

The two are never mixed. A row's `tags` are what people at the source wrote; the column `predicted_tags` holds a
tagger's probabilities from FLOOR on. Which of those count is decided here, at use, so that a corpus need not be built
again for another threshold.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dataprep.documents import DocumentError, parse_document
from dataprep.errors import DataError

PREDICTED = "predicted_tags"  # the column
FLOOR = 0.05  # what taggers keep; no threshold can be lower
SOURCE_KINDS = ("general", "character", "copyright", "artist", "meta")  # at the source, all but general are prefixes
PREDICTED_KINDS = ("general", "character")
RATINGS = ("general", "sensitive", "questionable", "explicit")
KAOMOJI = frozenset(  # tags that are faces, whose underscores are no spaces
    (
        *("0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3"),
        *("6_9", ">_o", "@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"),
    )
)
Origin = Literal["source", "predicted"]
Weighting = Literal["inverse", "balanced"]


@dataclass(frozen=True)
class Thresholds:
    """From which probability on a predicted tag counts; characters are named wrongly more easily than things are."""

    general: float = 0.35
    character: float = 0.75

    def __post_init__(self) -> None:
        for kind in PREDICTED_KINDS:
            if not FLOOR <= getattr(self, kind) <= 1:
                raise ValueError(
                    f"a threshold lies between {FLOOR} and 1, that of {kind} tags is {getattr(self, kind)}"
                )


PUBLISHED_THRESHOLDS = {
    "wdv3-timm": Thresholds(0.35, 0.75),
    "wd-tagger": Thresholds(0.35, 0.85),  # the demo of the taggers' author
    "colorizediffusion-xl": Thresholds(0.25, 0.85),
}


@dataclass(frozen=True)
class VocabularySettings:
    """Which tags make a vocabulary: the `top` most frequent ones of these kinds in the training split.

    6,000 is the thesis' number (4.1). `weighting` is that of dataprep.corpus_tools.vocabulary.focal_weights.
    """

    top: int = 6000
    origin: Origin = "source"
    kinds: tuple[str, ...] = ("general",)
    thresholds: Thresholds = Thresholds()
    weighting: Weighting = "inverse"

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")
        for name, allowed in (("origin", Origin), ("weighting", Weighting)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is one of {', '.join(get_args(allowed))}, not {getattr(self, name)!r}")
        known = SOURCE_KINDS if self.origin == "source" else PREDICTED_KINDS
        if not self.kinds or not set(self.kinds) <= set(known):
            raise ValueError(
                f"kinds of {self.origin} tags are {', '.join(known)}, not {', '.join(self.kinds) or 'none'}"
            )


@dataclass(frozen=True)
class Prediction:
    """What a tagger says of one picture: probabilities of the four ratings, and of tags from FLOOR on."""

    rating: Mapping[str, float]
    general: Mapping[str, float]
    character: Mapping[str, float]

    @classmethod
    def parse(cls, value: bytes) -> "Prediction":
        """A cell of `predicted_tags`. Raises DataError where it is none."""
        try:
            groups = parse_document(value, dict[str, dict[str, float]], PREDICTED)
            if absent := {"rating", *PREDICTED_KINDS} - groups.keys():
                raise DocumentError(f"no {', '.join(sorted(absent))}")
            parts = [groups[group] for group in ("rating", *PREDICTED_KINDS)]
        except DocumentError as error:
            raise DataError(f"a value of {PREDICTED} is no prediction of a tagger ({error})") from error
        if set(parts[0]) != set(RATINGS):
            raise DataError(f"a value of {PREDICTED} has the ratings {', '.join(sorted(parts[0])) or 'none'}")
        return cls(*parts)

    def most_likely_rating(self) -> str:
        """One of RATINGS; the milder where two are as likely."""
        return max(RATINGS, key=lambda name: self.rating[name])

    def tags(self, thresholds: Thresholds, kinds: Sequence[str] = PREDICTED_KINDS) -> list[str]:
        """What counts, kind by kind in this order, the most probable first."""
        found = []
        for kind in kinds:
            loud = [(-p, tag) for tag, p in getattr(self, kind).items() if p >= getattr(thresholds, kind)]
            found += [tag for _, tag in sorted(loud)]
        return found


def split_kind(tag: str) -> tuple[str, str]:
    """("character", "sylvie") of "character:sylvie"; colons of other tags, as in ":d", are their own."""
    kind, colon, name = tag.partition(":")
    return (kind, name) if colon and name and kind in SOURCE_KINDS[1:] else ("general", tag)


def caption(tags: Iterable[str], escape: bool = False) -> str:
    """Tags as words, by commas: underscores are spaces, but in faces like ^_^.

    `escape` puts a backslash before parentheses, which prompts of Stable Diffusion programs take for emphasis.
    """
    words = ", ".join(tag if tag in KAOMOJI else tag.replace("_", " ") for tag in tags)
    return re.sub(r"([()])", r"\\\1", words) if escape else words
