"""Aspect buckets: the sizes at which pictures are trained, so that every step has one shape (reference systems 2).

A picture belongs to the bucket whose aspect ratio is nearest to its own in log scale; among equal ones to the first of
the table. The bucket is decided by the picture's size alone, so that it can be written with the row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIDE_MULTIPLE = 8  # the codecs' reduction
_BLOCK_ROWS = 65_536  # assigned at a time, so that temporary arrays stay small

# Width x height of the v1 release; 768 x 768 has four times the weight of the others there.
V1_BUCKETS = ("768x768", "704x832", "832x704", "896x640", "640x896", "960x576", "576x960")
# Of the xl release: 22 entries, of which 1024 x 1024 is four; the sides of each add up to 2048.
XL_BUCKETS = (
    "1024x1024",
    *(f"{1024 + way * step}x{1024 - way * step}" for step in range(32, 289, 32) for way in (-1, 1)),
)
# Ours, for models of 128 pixels: about the aspects of v1 in multiples of 8.
TINY_BUCKETS = ("128x128", "120x144", "144x120", "152x112", "112x152", "160x96", "96x160")
TABLES = {"v1": V1_BUCKETS, "xl": XL_BUCKETS, "tiny": TINY_BUCKETS}
SQUARE_WEIGHT = 4  # of the square bucket in both releases, where every other weighs 1


@dataclass(frozen=True)
class BucketSettings:
    """`sizes`: "WIDTHxHEIGHT" in pixels, each side a multiple of 8, or the name of a table: v1, xl or tiny."""

    sizes: tuple[str, ...] = V1_BUCKETS

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", expanded(self.sizes))
        if not self.sizes:
            raise ValueError("sizes must name at least one bucket")
        for size in self.sizes:
            width, height = bucket_size(size)
            if width % SIDE_MULTIPLE or height % SIDE_MULTIPLE:
                raise ValueError(f"the sides of a bucket must be multiples of {SIDE_MULTIPLE}, not {size}")


@dataclass(frozen=True)
class BucketFill:
    """How a bucket fills batches: `rows` of it make `steps` whole batches and leave `left` rows over."""

    bucket: str
    rows: int
    steps: int
    left: int

    @property
    def under_filled(self) -> bool:
        """Whether the rows do not make one batch: they are repeated within it."""
        return self.steps == 0


def expanded(sizes: tuple[str, ...]) -> tuple[str, ...]:
    """Bucket names with the names of tables replaced by what those hold."""
    return tuple(bucket for size in sizes for bucket in TABLES.get(size, (size,)))


def bucket_size(bucket: str) -> tuple[int, int]:
    """(width, height) of "WIDTHxHEIGHT"; ValueError for anything else."""
    width, _, height = bucket.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) > 0 and int(height) > 0):
        raise ValueError(f"{bucket!r} is not a bucket; write WIDTHxHEIGHT, such as 768x768")
    return int(width), int(height)


def bucket_weight(bucket: str) -> int:
    """How often the releases draw a bucket, beside the others: squares four times."""
    width, height = bucket_size(bucket)
    return SQUARE_WEIGHT if width == height else 1


def assign_buckets(
    widths: npt.NDArray[np.integer], heights: npt.NDArray[np.integer], settings: BucketSettings
) -> npt.NDArray[np.str_]:
    """The bucket of each picture, (N,) strings, for widths and heights (N,) in pixels."""
    sizes = [bucket_size(size) for size in settings.sizes]
    edges = np.log([width / height for width, height in sizes])
    nearest = np.empty(len(widths), np.int32)
    for start in range(0, len(widths), _BLOCK_ROWS):
        block = np.s_[start : start + _BLOCK_ROWS]
        aspects = np.log(np.asarray(widths[block], np.float64) / np.asarray(heights[block], np.float64))
        nearest[block] = np.abs(aspects[:, None] - edges[None]).argmin(1)
    return np.array(settings.sizes)[nearest]


def fill(counts: Mapping[str, int], batch: int) -> list[BucketFill]:
    """How each bucket with `counts` rows fills batches of `batch`; the emptiest first, equal ones by name."""
    if batch < 1:
        raise ValueError(f"a batch holds at least one row, not {batch}")
    fills = [BucketFill(bucket, rows, *divmod(rows, batch)) for bucket, rows in counts.items()]
    return sorted(fills, key=lambda found: (found.rows, found.bucket))
