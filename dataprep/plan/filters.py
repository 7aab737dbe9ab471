"""Which pictures a corpus does not take, and under which reason each of them becomes a reject.

The scan measures every picture once (`measure`); what is too small, too grey or wrongly rated is judged afterwards on
the table of records (`judge`). So a changed filter never makes a picture be read again, and judging six million records
is a few Arrow operations. Near duplicates are a matter between pictures: dataprep.plan.near_duplicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.arrow import one_array, with_tag
from dataprep.pictures.decode import Picture

WATERMARK_TAGS = ("watermark", "sample_watermark", "third-party_watermark")  # as Danbooru names them
CHROMA_QUANTILE = 0.99  # one pixel of a hundred may be coloured by JPEG, a stamp or a signature
_CHROMA_GRID = 256  # chroma is looked at on at most about so many pixels a side


@dataclass(frozen=True)
class FilterSettings:
    """Sizes in pixels. Ratings, scores and tags are the source's own; an empty tuple and None ask for nothing.

    `min_chroma` drops monochrome pictures: those whose chroma (largest minus smallest of R, G, B, 0 to 255) is below it
    on 99 of 100 pixels. 0 takes them, 12 drops line art, greyscale and grey scans, but no sepia.
    `min_drawing` and `max_unsafe`, each 0 to 1, need a network in the scan (pipelines.extraction.content_filter).
    """

    min_side: int = 64
    max_side: int | None = None
    max_aspect: float = 4.0  # long side / short side
    min_contrast: int = 8  # difference of the brightest and the darkest level of at least one channel
    min_chroma: int = 0
    ratings: tuple[str, ...] = ()  # as the source says them; another one, or none, is dropped
    min_score: float | None = None
    max_score: float | None = None
    watermark_tags: tuple[str, ...] = WATERMARK_TAGS  # with any of these a picture is dropped
    min_drawing: float | None = None  # probability that the picture is drawn and no photograph
    max_unsafe: float | None = None  # probability that it is not for everyone to see
    phash_distance: int = 3  # pictures whose perceptual hashes differ in at most so many bits are the same

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < self.min_side:
            raise ValueError(f"max_side {self.max_side} is below min_side {self.min_side}: nothing would be taken")
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect is long side / short side, at least 1, got {self.max_aspect}")
        if None not in (self.min_score, self.max_score) and self.max_score < self.min_score:  # type: ignore[operator]
            raise ValueError(f"max_score {self.max_score} is below min_score {self.min_score}: nothing would be taken")
        if not (0 <= self.min_contrast <= 255 and 0 <= self.min_chroma <= 255):
            raise ValueError("min_contrast and min_chroma are levels from 0 to 255")
        if not 0 <= self.phash_distance < 64:
            raise ValueError(f"phash_distance is bits of 64, from 0 to 63, got {self.phash_distance}")
        for name in ("min_drawing", "max_unsafe"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}")

    @property
    def ask_for_content(self) -> bool:
        """Whether the scan has to measure what only a network can measure."""
        return self.min_drawing is not None or self.max_unsafe is not None


def measure(picture: Picture) -> dict[str, int]:
    """What the filters have to know of the pixels: `width`, `height`, `contrast` and `chroma` (0 to 255)."""
    height, width = picture.rgb.shape[:2]
    return {"width": width, "height": height, "contrast": _contrast(picture.rgb), "chroma": _chroma(picture.rgb)}


def judge(records: pa.Table, settings: FilterSettings) -> tuple[pa.Array, pa.Array]:
    """(reason, message) of each scan record (schema.SCAN_SCHEMA), null where the picture is taken.

    A reason that the scan gave stays. Of several rules the first in the order of `_rules` speaks. A value that a rule
    asks for and the record lacks is a reject; sizes and measures are never missing where a picture was read.
    """
    records = records.combine_chunks()
    reason, message = (one_array(records[name]) for name in ("reason", "message"))
    is_open = pc.is_null(reason)
    for word, dropped, why in _rules(records, settings):
        hit = pc.and_(is_open, dropped)
        if pc.any(hit).as_py():
            reason, message = pc.if_else(hit, word, reason), pc.if_else(hit, why, message)
            is_open = pc.and_(is_open, pc.invert(hit))
    return reason, message


def _rules(records: pa.Table, settings: FilterSettings) -> Iterator[tuple[str, pa.Array, pa.Array]]:
    """(reason, which records it drops, message) of each rule in use; every message is a column of words."""
    width, height = (one_array(records[name]) for name in ("width", "height"))
    size = pc.binary_join_element_wise(pc.cast(width, pa.string()), pc.cast(height, pa.string()), "x")
    short, long = pc.min_element_wise(width, height), pc.max_element_wise(width, height)
    yield "too-small", _true(pc.less(short, settings.min_side)), size
    if settings.max_side is not None:
        yield "too-large", _true(pc.greater(long, settings.max_side)), size
    yield "too-elongated", _true(pc.greater(pc.cast(long, pa.float64()), pc.multiply(short, settings.max_aspect))), size
    yield "blank", _true(pc.less(one_array(records["contrast"]), settings.min_contrast)), size
    yield "monochrome", _true(pc.less(one_array(records["chroma"]), settings.min_chroma)), size
    if settings.ratings:
        rating = pc.fill_null(one_array(records["rating"]), "no rating")
        yield "rating", pc.invert(pc.is_in(rating, pa.array(settings.ratings, pa.string()))), rating
    score = one_array(records["score"])
    stated = pc.fill_null(pc.cast(score, pa.string()), "no score")
    if settings.min_score is not None:
        yield "low-score", pc.invert(_true(pc.greater_equal(score, settings.min_score))), stated
    if settings.max_score is not None:
        yield "high-score", pc.invert(_true(pc.less_equal(score, settings.max_score))), stated
    if settings.watermark_tags:
        names = (*settings.watermark_tags, *(f"meta:{name}" for name in settings.watermark_tags))
        marked = with_tag(one_array(records["tags"]), names)
        yield "watermark", pa.array(marked), pa.array(np.where(marked, "tagged as watermarked", ""), pa.string())
    if settings.min_drawing is not None:
        drawing = one_array(records["drawing"])
        yield (
            "photograph",
            pc.invert(_true(pc.greater_equal(drawing, settings.min_drawing))),
            _measured("drawing", drawing),
        )
    if settings.max_unsafe is not None:
        unsafe = one_array(records["unsafe"])
        yield "unsafe", pc.invert(_true(pc.less_equal(unsafe, settings.max_unsafe))), _measured("unsafe", unsafe)


def _contrast(rgb: npt.NDArray[np.uint8]) -> int:
    """The largest difference of the levels of one channel."""
    brightest, darkest = (
        cv2.reduce(rgb, 0, kind).reshape(-1, 3) for kind in (cv2.REDUCE_MAX, cv2.REDUCE_MIN)
    )  # of each column of pixels
    return int(np.max(brightest.max(0).astype(np.int16) - darkest.min(0)))


def _chroma(rgb: npt.NDArray[np.uint8]) -> int:
    """The chroma (HSV: largest minus smallest channel) that 99 of 100 pixels of a regular grid do not exceed."""
    rows, columns = (max(1, side // _CHROMA_GRID) for side in rgb.shape[:2])
    seen = rgb[::rows, ::columns]
    chroma = seen.max(2) - seen.min(2)
    return int(np.quantile(chroma, CHROMA_QUANTILE, method="lower"))


def _measured(name: str, values: pa.Array) -> pa.Array:
    """What was measured, in words."""
    words = pc.fill_null(pc.cast(pc.round(values, 4), pa.string()), "not measured")
    return pc.binary_join_element_wise(name, words, " ")


def _true(flags: pa.Array) -> pa.Array:
    """A comparison with nothing is false."""
    return pc.fill_null(flags, False)
