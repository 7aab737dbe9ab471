"""Pictures assembled by a program from an artist's parts: the one source whose right answer is known exactly.

A template is an SVG whose fill colours are placeholders ({hair}, {skin}, ...). An `Assembly` is a template with a
colour for every name, so "sketch A in the colours of reference B" is a drawing, not an opinion: `recolored(A, B)`.
Ink is black and stays; everything else is flat colour, so line art, mask and regions are exact as well: the line art
is the same drawing with white fills, the regions the same drawing in one pure colour per region.

Every Assembly carries every colour name, also those that its template does not use: a transfer between styles replaces
what both have, and the rest is still decided by the reference. One 192 px drawing takes about 8 ms on one core.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from dataprep.documents import DocumentError, parse_document
from dataprep.errors import DataError
from dataprep.pictures import svg
from dataprep.pictures.decode import over_white
from dataprep.pictures.guarded import rasterize
from dataprep.pictures.palettes import draw_colors, nearest_name
from dataprep.randomness import generator

REGIONS = ("other", "hair", "skin", "clothes", "eyes", "background")
NOT_SCORED = 255
MOST_TEMPLATE_BYTES = 256 << 20  # of one file of drawings, unpacked; those that ship have 3 MB
COLOR_NAMES = ("accent", "background", "background2", "clothes", "eyes", "hair", "lips", "skin")
SHIPPED = Path(__file__).parents[1] / "assets" / "pictures" / "assembled"

# Corners of the colour cube: no mixture of two or more of them is a corner, so antialiased pixels never look pure.
_REGION_PAINT = dict(zip(REGIONS, ("#ffffff", "#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff"), strict=True))
_REGION_OF = {"background2": "background", "lips": "other", "accent": "other"}
_INK = "#000000"
_HOLE = re.compile(r"\{(\w+)\}")
_FIXED = re.compile(r'((?:fill|stroke|stop-color)=")#(?!0{3}(?:0{3})?")[0-9a-fA-F]{3,6}(?=")')
_BACKGROUND = re.compile(r'<rect id="background"[^>]*/>')
_HEX = re.compile(r"#[0-9a-f]{6}")

Colors = tuple[tuple[str, str], ...]  # sorted (name, "#rrggbb")


@dataclass(frozen=True)
class Template:
    """One drawing: svg with placeholders, the style that it belongs to, tags that name its parts."""

    id: str
    style: str
    tags: tuple[str, ...]
    svg: str


@dataclass(frozen=True)
class Assembly:
    """A template in particular colours. `template` is the id of a shipped drawing, or the drawing itself (SVG text)."""

    style: str
    template: str
    colors: Colors  # all of COLOR_NAMES

    def __post_init__(self) -> None:
        if tuple(name for name, _ in self.colors) != COLOR_NAMES:
            raise ValueError(f"an assembly has exactly the colours {', '.join(COLOR_NAMES)}, in this order")
        for name, value in self.colors:
            if not _HEX.fullmatch(value) or value == _INK:
                raise ValueError(f"colour {name}: {value!r} is not #rrggbb in lower case, or is the ink's black")


class _AssemblyDocument(TypedDict):
    style: str
    template: str
    colors: dict[str, str]


def to_json(assembly: Assembly) -> str:
    """Compact and canonical: equal assemblies give equal text."""
    fields = {"style": assembly.style, "template": assembly.template, "colors": dict(assembly.colors)}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Assembly:
    """Inverse of `to_json`; raises DataError for anything else."""
    try:
        fields = parse_document(text, _AssemblyDocument, "an assembly")
        return Assembly(fields["style"], fields["template"], tuple(sorted(fields["colors"].items())))
    except (DocumentError, ValueError) as error:
        raise DataError(f"not an assembly: {text[:80]!r} ({error})") from error


def recolored(assembly: Assembly, colors_of: Assembly) -> Assembly:
    """The drawing of the first in the colours of the second: the known answer."""
    return Assembly(assembly.style, assembly.template, colors_of.colors)


def svg_of(assembly: Assembly, size: int) -> str:
    """The drawing as an SVG of size x size px; its UTF-8 bytes are the source of an assembled picture."""
    return _painted(template_svg(assembly), dict(assembly.colors), size)


def render(assembly: Assembly, size: int) -> np.ndarray:
    """uint8 (size, size, 3)."""
    return _rgb(svg_of(assembly, size), _is_own(assembly))


def line_art(assembly: Assembly, size: int) -> np.ndarray:
    """uint8 (size, size): the same drawing with white fills; 0 = ink, 255 = paper. Does not depend on the colours."""
    return _line_art(template_svg(assembly), size, _is_own(assembly))


def mask(assembly: Assembly, size: int) -> np.ndarray:
    """uint8 (size, size): 255 = foreground, the alpha of the drawing without its background, whatever its colours."""
    return _mask(template_svg(assembly), size, _is_own(assembly))


# The same drawing comes in many colourings, and rasterizing is most of what reading one costs.
@lru_cache(maxsize=512)
def _line_art(template: str, size: int, own: bool) -> np.ndarray:
    white = _FIXED.sub(r"\1#fff", template)
    return _shared(_rgb(_painted(white, dict.fromkeys(COLOR_NAMES, "#ffffff"), size), own)[..., 0])


@lru_cache(maxsize=512)
def _mask(template: str, size: int, own: bool) -> np.ndarray:
    foreground = _BACKGROUND.sub("", template)
    return _shared(_drawn(_painted(foreground, dict.fromkeys(COLOR_NAMES, "#ffffff"), size), own)[..., 3])


def _shared(picture: np.ndarray) -> np.ndarray:
    """A copy that nobody can change, since every caller gets the same one."""
    picture = np.ascontiguousarray(picture)
    picture.setflags(write=False)
    return picture


def region_classes(assembly: Assembly, size: int) -> np.ndarray:
    """uint8 (size, size): index into REGIONS; NOT_SCORED on ink and on antialiased pixels."""
    drawing = _FIXED.sub(r"\1" + _REGION_PAINT["other"], template_svg(assembly))
    paint = {name: _REGION_PAINT[_REGION_OF.get(name, name)] for name in COLOR_NAMES}
    rgb = _rgb(_painted(drawing, paint, size), _is_own(assembly))
    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    classes = np.full(codes.shape, NOT_SCORED, np.uint8)
    for index, name in enumerate(REGIONS):
        classes[codes == int(_REGION_PAINT[name][1:], 16)] = index
    return classes


def coloring(template: Template, index: int, seed: int) -> Assembly:
    """The colouring number `index` of a template: a pure function of (seed, template, index)."""
    reference = template.id if shipped_templates().get(template.id) == template else template.svg
    return Assembly(template.style, reference, drawn_colors(generator(seed, index, f"colors:{template.id}")))


def drawn_colors(rng: np.random.Generator) -> Colors:
    """A colour for every name, at random."""
    return tuple(sorted(draw_colors(rng).items()))


def of_row(row: Mapping[str, Any]) -> Assembly | None:
    """The assembly that a corpus row records, None for any other picture. Raises DataError for a damaged one."""
    return from_json(row["assembly"]) if row.get("assembly") else None


def shown_regions(assembly: Assembly) -> frozenset[str]:
    """Names of REGIONS whose colour this drawing shows: what a reference can tell, and so what a score may ask for.

    A bald head tells no hair colour, and `adventurer` wears no clothes. "other" is never among them: it mixes fixed
    colours with accessories.
    """
    return frozenset(set(_HOLE.findall(template_svg(assembly))) & set(REGIONS))


def color_tags(assembly: Assembly) -> tuple[str, ...]:
    """Tags such as "hair-color:pink" for the colours that the drawing shows."""
    shown = set(_HOLE.findall(template_svg(assembly)))
    return tuple(f"{name}-color:{nearest_name(value)}" for name, value in assembly.colors if name in shown)


def parse_templates(data: bytes, where: str) -> list[Template]:
    """Templates from JSON lines (gzipped or not); raises DataError that names the line."""
    try:
        text = _unpacked(data, where).decode()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{where}: damaged template file: {error}") from error
    templates = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            template = parse_document(line, Template, "a template")
            unknown = set(_HOLE.findall(template.svg)) - set(COLOR_NAMES)
        except DocumentError as error:
            raise DataError(f"{where}, line {number}: not a template: {error}") from error
        if unknown:
            raise DataError(f"{where}, line {number}: unknown colour names {sorted(unknown)}")
        templates.append(template)
    return templates


def _unpacked(data: bytes, where: str) -> bytes:
    """The content of a file that may be gzipped, of which no more is unpacked than a file of drawings has."""
    if data[:2] != b"\x1f\x8b":
        return data
    with gzip.open(io.BytesIO(data)) as file:
        unpacked = file.read(MOST_TEMPLATE_BYTES + 1)
    if len(unpacked) > MOST_TEMPLATE_BYTES:
        raise DataError(f"{where}: it unpacks to more than {MOST_TEMPLATE_BYTES:,} bytes, and is not read.")
    return unpacked


@lru_cache(maxsize=1)
def shipped_templates() -> dict[str, Template]:
    """id -> template of the drawings that come with the project."""
    files = sorted(SHIPPED.glob("*.jsonl.gz"))
    return {t.id: t for file in files for t in parse_templates(file.read_bytes(), str(file))}


def template_svg(assembly: Assembly) -> str:
    """The drawing with its placeholders; DataError where its id is unknown."""
    if assembly.template.startswith("<"):
        return assembly.template
    try:
        return shipped_templates()[assembly.template].svg
    except KeyError:
        raise DataError(
            f"template {assembly.template!r} ({assembly.style}) is not among the shipped drawings; "
            "the corpus was built with another version: build it again."
        ) from None


def _painted(drawing: str, paint: Mapping[str, str], size: int) -> str:
    sized = drawing.replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    return _HOLE.sub(lambda hole: paint[hole[1]], sized)


def _is_own(assembly: Assembly) -> bool:
    """Whether the drawing's markup comes with the picture, from whoever wrote it, and not with the project."""
    return assembly.template.startswith("<")


def _rgb(markup: str, own: bool) -> np.ndarray:
    return over_white(_drawn(markup, own))[0]


def _drawn(markup: str, own: bool) -> np.ndarray:
    """uint8 (size, size, 4); markup of others is checked and drawn within limits. Raises UnreadablePicture."""
    return rasterize(markup) if own else svg.rasterize(markup)
