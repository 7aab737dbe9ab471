"""From a row to what a model sees: sketch, colour and reference tensors (thesis 3.2, "On-the-fly preprocessing").

Each sample is a pure function of (row, settings, random numbers), so it does not matter which process makes it or what
was made before. The polarity of sketches changes in `model_sketch` and nowhere else: on disk lines are black on white,
in the model the background is -1 and lines are +1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.pictures.decode import Picture, decode, decode_at_least, measure
from dataprep.pictures.resize import fitted_size, resize_color

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
WHITE = 255
REFERENCE_SIDE = 1536  # px: the longest side of a reference that a pipeline is handed
# The 256 levels of a picture as the model sees them: a table look-up, since arithmetic on whole pictures is slower and
# holds up the other threads.
_LEVELS = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)


@dataclass(frozen=True)
class SampleSettings:
    """How a row becomes a sample. Sizes in pixels; the defaults of the ranges are the paper's (thesis 3.2)."""

    width: int = 128
    height: int = 128
    rescale_max: float = 1.3  # isotropic rescale ~ U(1, rescale_max), where 1 just covers the window
    sketch_crop_max: float = 0.15  # share of the window blanked at each side of the sketch ~ U(0, sketch_crop_max)
    styles: tuple[str, ...] = ("drawn", "xdog")
    reference_size: int = 224  # the reference is squashed to this square

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.reference_size) < 1:
            raise ValueError("width, height and reference_size must be at least 1")
        if self.rescale_max < 1.0:
            raise ValueError(f"rescale_max must be at least 1, got {self.rescale_max}")
        if not 0.0 <= self.sketch_crop_max < 0.5:
            raise ValueError(f"sketch_crop_max must be in [0, 0.5), got {self.sketch_crop_max}")
        if not self.styles:
            raise ValueError("styles must name at least one sketch style")


@dataclass(frozen=True)
class Sample:
    """sketch, color: (3, H, W); reference: (3, h, w); float32 in [-1, 1]; sketch background -1, lines +1."""

    sketch: Floats
    color: Floats
    reference: Floats
    style: str


@dataclass(frozen=True)
class Window:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This part of a picture (H, W) or (H, W, C); a view."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


# ---- values -------------------------------------------------------------------------------------------------------


def model_image(rgb: Bytes) -> Floats:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [-1, 1]."""
    image = np.empty((3, *rgb.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(rgb)):
        cv2.LUT(plane, _LEVELS, dst=image[channel])
    return image


def from_model_image(image: Floats) -> Bytes:
    """float32 (3, H, W), clipped to [-1, 1] -> uint8 (H, W, 3); the inverse of `model_image`."""
    levels = np.rint((np.clip(image, -1, 1) + 1) * 127.5)
    return np.ascontiguousarray(levels.transpose(1, 2, 0)).astype(np.uint8)


def model_sketch(gray: Bytes) -> Floats:
    """Black lines on white, uint8 (H, W) -> lines +1 on -1, float32 (3, H, W): the one place where polarity changes."""
    image = np.empty((3, *gray.shape), np.float32)
    image[:] = cv2.LUT(gray, -_LEVELS)
    return image


# ---- sizes --------------------------------------------------------------------------------------------------------


def resize_sketch(gray: Bytes, width: int, height: int) -> Bytes:
    """Resize black lines on white so that thin lines survive, uint8 (H, W) -> uint8 (height, width).

    Averaging over a shrink of f leaves 1/f of the ink of a one-pixel line; the ink is multiplied by sqrt(f), half-way
    (in ratio) between fading lines and filling in hatching. Growing is linear: the paper stays exactly white.
    """
    shrunk = cv2.resize(gray, (min(width, gray.shape[1]), min(height, gray.shape[0])), interpolation=cv2.INTER_AREA)
    shrink = np.sqrt(gray.size / shrunk.size)
    ink = np.minimum((WHITE - np.arange(256, dtype=np.float32)) * np.sqrt(shrink), WHITE)
    inked = cv2.LUT(shrunk, (WHITE - np.rint(ink)).astype(np.uint8))
    return np.asarray(cv2.resize(inked, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def cover_size(picture: npt.NDArray[Any], width: int, height: int, rescale: float = 1.0) -> tuple[int, int]:
    """(width, height) of a picture scaled to just cover a window, times `rescale`; never smaller than the window."""
    return cover((picture.shape[1], picture.shape[0]), width, height, rescale)


def cover(size: tuple[int, int], width: int, height: int, rescale: float = 1.0) -> tuple[int, int]:
    """`cover_size` of a picture of which only the (width, height) is known."""
    scale = rescale * max(width / size[0], height / size[1])
    return max(width, round(size[0] * scale)), max(height, round(size[1] * scale))


def blank_border(gray: Bytes, shares: npt.NDArray[np.float64]) -> Bytes:
    """The sketch with these shares of its top, bottom, left and right sides returned to white paper."""
    height, width = gray.shape
    top, bottom, left, right = np.rint(shares * (height, height, width, width)).astype(int)
    kept = np.full_like(gray, WHITE)
    inside = np.s_[top : height - bottom, left : width - right]
    kept[inside] = gray[inside]
    return kept


# ---- samples ------------------------------------------------------------------------------------------------------


def training_sample(row: Mapping[str, Any], settings: SampleSettings, rng: np.random.Generator) -> Sample:
    """The augmented sample of a row: joint rescale and crop, a style of the row's own, the sketch's border blanked.

    `row` holds encoded pictures: `color` and `sketch_<style>` (None where the row has no such sketch). DataError names
    the row when its color or all of the wanted styles are missing; UnreadablePicture says why one cannot be decoded.
    """
    if row.get("color") is None:
        raise DataError(f"row {row.get('id')} has no color")
    styles = [style for style in settings.styles if row.get(f"sketch_{style}") is not None]
    if not styles:
        raise DataError(f"row {row.get('id')} has no sketch of the styles {', '.join(settings.styles)}")
    # Every sample draws the same eight numbers in the same order, so settings that use fewer change nothing else.
    draws = rng.random(8)
    style = styles[int(draws[0] * len(styles))]
    rescale = 1.0 + draws[1] * (settings.rescale_max - 1.0)
    size = cover(measure(row["color"]), settings.width, settings.height, rescale)
    # A picture that will be shrunk far is decoded smaller, where its format can.
    picture = decode_at_least(row["color"], *(max(side, settings.reference_size) for side in size))
    return _sample(picture, row, settings, style, size, (draws[2], draws[3]), draws[4:8] * settings.sketch_crop_max)


def evaluation_sample(row: Mapping[str, Any], settings: SampleSettings, style: str) -> Sample:
    """The sample of a row for scoring: the centre that covers the window, no border blanked, nothing random."""
    if row.get(f"sketch_{style}") is None:
        raise DataError(f"row {row.get('id')} has no sketch of the style {style}")
    picture = decode(row["color"])
    size = cover_size(picture.rgb, settings.width, settings.height)
    return _sample(picture, row, settings, style, size, (0.5, 0.5), np.zeros(4))


def model_reference(rgb: Bytes, settings: SampleSettings, extent: tuple[float, float] | None = None) -> Floats:
    """The whole picture squashed to the reference square: no crop, no flip, nothing lost (thesis 3.2)."""
    return model_image(resize_color(rgb, settings.reference_size, settings.reference_size, extent))


def reference_picture(rgb: Bytes) -> Floats:
    """The whole picture as a pipeline takes it, float32 (3, h, w), no side longer than REFERENCE_SIDE.

    Its image encoder squashes it as `model_reference` does; padding and attention injection need more than the square.
    """
    if max(rgb.shape[:2]) > REFERENCE_SIDE:
        rgb = resize_color(rgb, *fitted_size((rgb.shape[1], rgb.shape[0]), REFERENCE_SIDE, REFERENCE_SIDE, "contain"))
    return model_image(rgb)


def _sample(
    picture: Picture,
    row: Mapping[str, Any],
    settings: SampleSettings,
    style: str,
    size: tuple[int, int],
    offset: tuple[float, float],
    blanked: npt.NDArray[np.float64],
) -> Sample:
    """Sketch and color at `size`; `offset` (down, right) in [0, 1) places the window in what that leaves free."""
    gray = np.asarray(cv2.cvtColor(decode(row[f"sketch_{style}"]).rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    width, height = size
    down, right = height - settings.height, width - settings.width
    window = Window(
        min(int(offset[0] * (down + 1)), down),
        min(int(offset[1] * (right + 1)), right),
        settings.height,
        settings.width,
    )
    sketch = window.cut(resize_sketch(gray, width, height))
    return Sample(
        sketch=model_sketch(blank_border(sketch, blanked)),
        color=model_image(window.cut(resize_color(picture.rgb, width, height, picture.extent))),
        reference=model_reference(picture.rgb, settings, picture.extent),
        style=style,
    )
