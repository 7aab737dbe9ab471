"""What the operators without weights compute: colours, XDoG, the artist's own line art, masks, region maps."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import cv2
import numpy as np

from dataprep.errors import DataError
from dataprep.faults import Fault
from dataprep.lines.region_map import RegionSettings, region_map
from dataprep.lines.strokes import VERSION, StrokeSettings, even_strokes
from dataprep.lines.xdog import XDoGColumns, draw_common, xdog
from dataprep.operators.operator import Operator
from dataprep.operators.row_input import Gray, RowInput, Value
from dataprep.operators.styles import StyleSettings, has_style
from dataprep.pictures.decode import Picture, decode, decode_png

ASPECT_TOLERANCE = 0.01  # a drawn sketch of another size still belongs to its picture if its aspect is this close


def gray_of(picture: Picture) -> Gray:
    """Luma (H, W) of a picture over white."""
    return cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def source_color(row: RowInput) -> Value:
    """The source's own bytes where they are plain RGB already, so that nothing is stored twice or lost."""
    return row.data if row.picture.source_is_plain_rgb else row.picture.rgb


@dataclass(frozen=True)
class RowsOfStyle:
    """`compute` for the rows that get the style."""

    style: str
    styles: StyleSettings
    seed: int
    compute: Callable[[RowInput], Value]

    def __call__(self, row: RowInput) -> Value:
        return self.compute(row) if has_style(row.id, self.seed, self.style, self.styles) else None


@dataclass(frozen=True)
class CommonXDoG:
    seed: int
    long_side: int = 0

    def __call__(self, row: RowInput) -> Value:
        """One of the settings that line-art colorization repositories share, drawn for the row."""
        return xdog(gray_of(row.picture), draw_common(row.id, self.seed), self.long_side)


@dataclass(frozen=True)
class XDoG:
    settings: XDoGColumns
    seed: int

    def __call__(self, row: RowInput) -> Value:
        return xdog(gray_of(row.picture), self.settings.numbers(row.id, self.seed), self.settings.long_side)


def drawn_sketch(row: RowInput) -> Value:
    """The artist's own line art, at the picture's size."""
    if row.drawn_sketch is None:
        return None
    gray = _fitted(gray_of(decode(row.drawn_sketch)), row, "drawn sketch")
    return gray if row.placement is None else row.placement.sketch(gray)


def source_mask(row: RowInput) -> Value:
    """The source's own mask at the picture's size, else its alpha; a picture without either has no mask yet."""
    if row.mask is None:
        return row.picture.alpha
    gray = _fitted(gray_of(decode(row.mask)), row, "mask")
    return gray if row.placement is None else row.placement.mask(gray)


@dataclass(frozen=True)
class RegionMap:
    settings: RegionSettings
    lines: tuple[str, ...]  # columns

    def __call__(self, row: RowInput) -> Value:
        """The regions of the first of the line arts that the row has."""
        sketch = next((sketch for column in self.lines if (sketch := row.columns[column])), None)
        if sketch is None:
            raise DataError("there is no line art to find regions in")
        return region_map(decode_png(sketch), self.settings)


def _fitted(gray: Gray, row: RowInput, what: str) -> Gray:
    """`gray` at the source picture's (height, width), where its aspect is the picture's."""
    height, width = row.picture.rgb.shape[:2] if row.placement is None else row.placement.source
    if gray.shape == (height, width):
        return gray
    if abs(gray.shape[1] * height / (gray.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        raise Fault("wrong-size", f"the {what} is {gray.shape[1]}x{gray.shape[0]}, the picture {width}x{height}")
    return cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def stroked(operator: Operator, settings: StrokeSettings) -> Operator:
    """The operator of a sketch with its strokes joined and evened, which is part of its fingerprint."""
    strokes = {name: value for name, value in asdict(settings).items() if name != "styles"} | {"version": VERSION}
    described = dict(operator.settings) | {"strokes": strokes}
    return replace(operator, settings=described, after=partial(_treated, settings=settings))


def _treated(png: bytes, settings: StrokeSettings) -> Gray:
    return even_strokes(decode_png(png), settings)
