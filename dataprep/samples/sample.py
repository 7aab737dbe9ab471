"""From a row to what a model sees: sketch, colour, reference and whatever else a stage asks for, as arrays (thesis 3.2,
"On-the-fly preprocessing").

Each sample is a pure function of (row, settings, random numbers), so it does not matter which process makes it or what
was made before. Its first eight numbers are the same for every stage; what only some stages use comes behind them, from
generators named by their purpose, so that asking for one picture more moves no number of another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.operators.styles import REWORKED
from dataprep.pictures import assembled
from dataprep.pictures.decode import Picture, decode_png
from dataprep.pictures.guarded import decode, decode_at_least, measure
from dataprep.pictures.resize import Bytes, fitted_size, resize_color, resize_mask, resize_sketch
from dataprep.randomness import WORD, generator
from dataprep.samples.deformation import deform
from dataprep.samples.polarity import model_sketch
from dataprep.samples.sample_settings import EXTENT, REFERENCES, SampleSettings, kind_of
from dataprep.samples.values import Floats, from_model_image, model_image, model_mask
from dataprep.samples.windows import Crop, blank_border, cover, cover_size

__all__ = [
    "REFERENCE_SIDE",
    "Sample",
    "SampleSettings",
    "cover_size",
    "evaluation_sample",
    "from_model_image",
    "model_image",
    "model_reference",
    "model_sketch",
    "reference_picture",
    "resize_sketch",
    "training_sample",
]
REFERENCE_SIDE = 1536  # px: the longest side of a reference that a pipeline takes
CENTRE = (0.0, 0.5, 0.5)  # a crop's numbers, in [0, 1): how far rescaled, how far down, how far right


@dataclass(frozen=True, eq=False)
class Sample:
    """`pictures` by the names that the settings ask for, channels first: colours and sketches float32 in [-1, 1]
    (sketch background -1, lines +1), masks float32 in [0, 1], region maps int32 (0 = line).

    `style` is the sketch's, empty where there is none; `tags` are the row's, where the settings ask for them.
    """

    pictures: Mapping[str, npt.NDArray[Any]]
    style: str
    tags: tuple[str, ...] = ()

    @property
    def sketch(self) -> Floats:
        """(3, H, W)."""
        return self.pictures["sketch"]

    @property
    def color(self) -> Floats:
        """(3, H, W)."""
        return self.pictures["color"]

    @property
    def reference(self) -> Floats:
        """(3, h, w), square."""
        return self.pictures["reference"]


def training_sample(
    row: Mapping[str, Any],
    settings: SampleSettings,
    rng: np.random.Generator,
    *,
    second: Mapping[str, Any] | None = None,
) -> Sample:
    """The augmented sample of a row: joint rescale and crop, a style of the row's own, the sketch's border blanked.

    `row` holds encoded pictures: `color`, `sketch_<style>` (None where the row has no such sketch) and whatever else
    `settings.columns()` names, `tags` besides where they are asked for, `assembly` where assembled drawings are drawn
    anew. `second` is the row of the second reference, or of the drawing that a palette reference shows.
    DataError names the row when a column or all of the wanted styles are missing; UnreadablePicture says why one cannot
    be decoded.
    """
    _cell(row, "color")
    styles = _styles(row, settings)
    # Every sample draws the same eight numbers in the same order, so settings that use fewer change nothing else.
    draws = rng.random(8)
    style = styles[int(draws[0] * len(styles))] if styles else ""
    numbers = _Numbers(
        crop=(draws[1], draws[2], draws[3]), blanked=draws[4:8] * settings.sketch_crop_max, further=_further(rng)
    )
    return _sample(row, second, settings, style, numbers)


def evaluation_sample(
    row: Mapping[str, Any],
    settings: SampleSettings,
    style: str,
    *,
    second: Mapping[str, Any] | None = None,
    squashed: bool = False,
) -> Sample:
    """The sample of a row for scoring: the centre that covers the window, or `squashed` all of it, its sides brought to
    the window's; no border blanked, nothing random.

    A deformed reference is bent by numbers that follow from the row's id.
    """
    if settings.asks_for("sketch"):
        if row.get(f"sketch_{style}") is None:
            raise DataError(f"row {row.get('id')} has no sketch of the style {style}")
    else:
        style = ""
    key = crc32(str(row.get("id")).encode())
    numbers = _Numbers(
        crop=CENTRE,
        blanked=np.zeros(4),
        further=lambda purpose: generator(key, 0, purpose),
        centred=True,
        squashed=squashed,
    )
    return _sample(row, second, settings, style, numbers)


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


# ---- the numbers of a sample ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbers:
    """What is random in a sample; `centred` samples are cut from the centre and decoded whole."""

    crop: tuple[float, float, float]  # as CENTRE
    blanked: npt.NDArray[np.float64]  # (4,): shares of the sketch's sides
    further: Callable[[str], np.random.Generator]  # for one purpose
    centred: bool = False  # of evaluation
    squashed: bool = False  # the window shows the whole picture

    def own_crop(self, purpose: str) -> tuple[float, float, float]:
        """The numbers of a crop beside the sample's own."""
        if self.centred:
            return CENTRE
        rescale, down, right = self.further(purpose).random(3).tolist()
        return rescale, down, right


def _further(rng: np.random.Generator) -> Callable[[str], np.random.Generator]:
    """Generators behind the first numbers of `rng`, each for one purpose; without one, `rng` is left where it is."""

    @cache
    def key() -> int:
        return int(rng.integers(WORD - 1, dtype=np.uint64, endpoint=True))

    return lambda purpose: generator(key(), 0, purpose)


def _styles(row: Mapping[str, Any], settings: SampleSettings) -> list[str]:
    """The styles that the row's sketch is drawn among; none where no sketch is asked for."""
    if not settings.asks_for("sketch"):
        return []
    styles = [style for style in settings.styles if row.get(f"sketch_{style}") is not None]
    if not styles:
        raise DataError(f"row {row.get('id')} has no sketch of the styles {', '.join(settings.styles)}")
    reworked = [style for style in styles if style in REWORKED]
    return reworked if reworked and settings.simplified == "instead" else styles


# ---- pictures of a row ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A row's picture and what lies on it; `shown` is the part that its references show, None for all of it."""

    row: Mapping[str, Any]
    picture: Picture
    shown: Crop | None
    palette: Picture | None = None  # what references show instead: another drawing in this one's colours
    palette_mask: Bytes | None = None  # of that drawing

    def reference(self) -> tuple[Bytes, tuple[float, float] | None]:
        """What references show, and the extent of it, as `resize_color` takes them."""
        if self.palette is not None:
            return self.palette.rgb, None
        return (self.picture.rgb, self.picture.extent) if self.shown is None else (self.shown.color(self.picture), None)

    def reference_mask(self) -> Bytes:
        """The mask of what references show."""
        if self.palette_mask is not None:
            return self.palette_mask
        mask = decode_png(_cell(self.row, "mask"))
        return mask if self.shown is None else self.shown.mask(mask)

    def deformed(self, settings: SampleSettings, rng: np.random.Generator) -> Bytes:
        """What references show, bent; first made as small as the largest of them allows."""
        rgb, extent = self.reference()
        whole = extent or (rgb.shape[1], rgb.shape[0])
        size = cover(whole, *settings.largest("deformed_reference"))
        small = resize_color(rgb, *size, extent) if size[0] < whole[0] and size[1] < whole[1] else rgb
        return deform(small, rng, settings.deformation)


def _sample(
    row: Mapping[str, Any],
    second: Mapping[str, Any] | None,
    settings: SampleSettings,
    style: str,
    numbers: _Numbers,
) -> Sample:
    """All pictures that the settings ask for."""
    # The window that sketch, colour, mask and regions share, and the part of the picture that references show.
    size = measure(_cell(row, "color"))
    crop = _whole(settings) if numbers.squashed else _crop(size, settings, numbers.crop)
    shown = None if settings.reference_crop == "whole" else crop
    if settings.reference_crop == "separate":
        shown = _crop(size, settings, numbers.own_crop("reference crop"))
    source = _source(row, settings, numbers, shown, crop)
    if settings.draws_assembled() and not numbers.centred:
        source = _drawn_anew(source, second, settings, numbers, size)
    other = _second(second, settings, numbers) if settings.needs_second() else source

    made: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "sketch": lambda: model_sketch(blank_border(crop.sketch(_gray(row[f"sketch_{style}"])), numbers.blanked)),
        "color": lambda: model_image(crop.color(source.picture)),
        "mask": lambda: model_mask(crop.mask(decode_png(_cell(row, "mask")))),
        EXTENT: lambda: _extent(size, shown),
        "region_map": lambda: crop.labels(decode_png(_cell(row, "region_map"))).astype(np.int32)[None],
    }
    bent = cache(lambda: source.deformed(settings, numbers.further("deformation")))
    references: dict[str, Callable[[tuple[int, int]], npt.NDArray[Any]]] = {
        "reference": lambda size: _squashed(size, *source.reference()),
        "reference_mask": lambda size: model_mask(resize_mask(source.reference_mask(), *size)),
        "deformed_reference": lambda size: _squashed(size, bent()),
        "second_reference": lambda size: _squashed(size, *other.reference()),
        "second_reference_mask": lambda size: model_mask(resize_mask(other.reference_mask(), *size)),
    }
    pictures = {
        name: references[kind_of(name)](settings.size_of(name)) if kind_of(name) in REFERENCES else made[name]()
        for name in settings.pictures
    }
    return Sample(pictures, style, tuple(_cell(row, "tags")) if settings.tags else ())


def _source(
    row: Mapping[str, Any], settings: SampleSettings, numbers: _Numbers, shown: Crop | None, *crops: Crop
) -> _Source:
    """The row's picture, decoded smaller where its format can and all crops and references are smaller."""
    if numbers.centred:
        return _Source(row, decode(row["color"]), shown)
    sizes = [crop.size for crop in (*crops, shown) if crop]
    sizes.append(settings.largest(*REFERENCES))
    least = max(width for width, _ in sizes), max(height for _, height in sizes)
    return _Source(row, decode_at_least(row["color"], *least), shown)


def _drawn_anew(
    source: _Source,
    second: Mapping[str, Any] | None,
    settings: SampleSettings,
    numbers: _Numbers,
    size: tuple[int, int],
) -> _Source:
    """An assembled picture of that (width, height) in other colours, and another drawing in the same, as the settings'
    shares have it; anything else as it is."""
    assembly = assembled.of_row(source.row)
    if assembly is None:
        return source
    rng = numbers.further("assembled")
    recolor, palette = rng.random(2)
    if recolor < settings.recolored:
        assembly = replace(assembly, colors=assembled.drawn_colors(rng))
        source = replace(source, picture=Picture(assembled.render(assembly, max(size)), None, True))
    drawing = assembled.of_row(second) if second else None
    if drawing is None or palette >= settings.palette_references:
        return source
    # Of a part that the other drawing does not show, no colour would be right: it could only be guessed.
    if assembled.shown_regions(drawing) >= assembled.shown_regions(assembly):
        side = max(settings.largest(*REFERENCES))
        shown = assembled.render(assembled.recolored(drawing, assembly), side)
        mask = assembled.mask(drawing, side) if settings.asks_for("reference_mask") else None
        source = replace(source, palette=Picture(shown, None, True), palette_mask=mask)
    return source


def _second(second: Mapping[str, Any] | None, settings: SampleSettings, numbers: _Numbers) -> _Source:
    """The second row, of which nothing but references is made."""
    if second is None:
        raise ValueError("the settings ask for a second reference: a second row must be given")
    size, shown = measure(_cell(second, "color")), None
    if settings.reference_crop != "whole":
        shown = _crop(size, settings, numbers.own_crop("second reference crop"))
    return _source(second, settings, numbers, shown)


def _crop(size: tuple[int, int], settings: SampleSettings, numbers: tuple[float, float, float]) -> Crop:
    """The settings' window on a picture of that (width, height)."""
    rescale, down, right = numbers
    scaled = cover(size, settings.width, settings.height, 1.0 + rescale * (settings.rescale_max - 1.0))
    return Crop.placed(scaled, settings.width, settings.height, (down, right))


def _whole(settings: SampleSettings) -> Crop:
    """The settings' window over all of a picture, whatever its shape."""
    return Crop.placed((settings.width, settings.height), settings.width, settings.height, (0.5, 0.5))


def _squashed(size: tuple[int, int], rgb: Bytes, extent: tuple[float, float] | None = None) -> Floats:
    return model_image(resize_color(rgb, *size, extent))


def _extent(size: tuple[int, int], shown: Crop | None) -> Floats:
    """Height and width in pixels of a picture of that (width, height), or of the part of it that is shown; no larger
    than a pipeline takes references."""
    width, height = size if shown is None else (shown.window.width, shown.window.height)
    if max(width, height) > REFERENCE_SIDE:
        width, height = fitted_size((width, height), REFERENCE_SIDE, REFERENCE_SIDE, "contain")
    return np.array([height, width], np.float32).reshape(2, 1, 1)


def _gray(data: bytes) -> Bytes:
    return np.asarray(cv2.cvtColor(decode(data).rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """The row's value of a column. DataError where it has none."""
    if row.get(column) is None:
        raise DataError(f"row {row.get('id')} has no {column}")
    return row[column]
