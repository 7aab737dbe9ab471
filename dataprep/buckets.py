"""Aspect buckets: the sizes at which pictures are trained, so that every step has one shape (reference systems 2).

A picture belongs to the bucket whose aspect ratio is nearest to its own in log scale; among equal ones to the first of
the table. The bucket is decided by the picture's size alone, so that it can be written with the row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Width x height of the v1 release; 768 x 768 has four times the weight of the others there.
V1_BUCKETS = ("768x768", "704x832", "832x704", "896x640", "640x896", "960x576", "576x960")


@dataclass(frozen=True)
class BucketSettings:
    """`sizes`: "WIDTHxHEIGHT" in pixels, each side a multiple of 64."""

    sizes: tuple[str, ...] = V1_BUCKETS

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes must name at least one bucket")
        for size in self.sizes:
            width, height = bucket_size(size)
            if width % 64 or height % 64:
                raise ValueError(f"the sides of a bucket must be multiples of 64, not {size}")


def bucket_size(bucket: str) -> tuple[int, int]:
    """(width, height) of "WIDTHxHEIGHT"; ValueError for anything else."""
    width, _, height = bucket.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) > 0 and int(height) > 0):
        raise ValueError(f"{bucket!r} is not a bucket; write WIDTHxHEIGHT, such as 768x768")
    return int(width), int(height)


def assign_buckets(
    widths: npt.NDArray[np.integer], heights: npt.NDArray[np.integer], settings: BucketSettings
) -> npt.NDArray[np.str_]:
    """The bucket of each picture, (N,) strings, for widths and heights (N,) in pixels."""
    sizes = [bucket_size(size) for size in settings.sizes]
    edges = np.log([width / height for width, height in sizes])
    aspects = np.log(np.asarray(widths, np.float64) / np.asarray(heights, np.float64))
    nearest = np.abs(aspects[:, None] - edges[None]).argmin(1)
    return np.array(settings.sizes)[nearest]
