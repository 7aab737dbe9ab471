"""SVG markup to pixels through resvg: one size rule, and nothing hostile reaches the renderer.

A drawing is measured before it is drawn. Pictures inside a drawing (linked or embedded) are refused rather than left
out: nothing outside the markup is ever read, and a drawing with a hole in it is not the artist's. Elements that repeat
each other are counted after expansion, so that a few hundred bytes cannot ask for a billion shapes.
"""

import io
import math
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import resvg_py
from PIL import Image

SVG_DEFAULT_SIDE = 256  # px: the longer side of a drawing that states a viewBox and no size
MAX_SIDE = 16384
MAX_ELEMENTS = 200_000  # after expansion of <use>, patterns, masks, ...

_UNITS_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_LENGTH = re.compile(r"\s*([-+0-9.eE]+?)(px|pt|pc|mm|cm|in|)\s*")
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)")
_PICTURES = {"image", "feImage"}


class SvgRefused(ValueError):
    """The markup is not a drawing that can be rendered safely; the message says why."""


def looks_like_svg(data: bytes) -> bool:
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") and b"<svg" in data[:65536]


def measure(data: bytes, max_pixels: int) -> tuple[str, int, int]:
    """(markup with that size, width, height) in pixels of a drawing that is safe to render; raises SvgRefused.

    The size is the drawing's own (96 dpi); with a viewBox alone its longer side is SVG_DEFAULT_SIDE.
    """
    root = _parse(data)
    width, height = _own_size(root)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or width * height > max_pixels:
        raise SvgRefused(f"a drawing of {width:g}x{height:g} pixels is outside the limits")
    for element in root.iter():
        if _name(element) in _PICTURES:
            raise SvgRefused("the drawing holds a linked or embedded picture, which is never loaded")
    _count_elements(root)
    root.set("width", str(width))
    root.set("height", str(height))
    return ElementTree.tostring(root, encoding="unicode"), width, height


def rasterize(markup: str) -> np.ndarray:
    """uint8 (H, W, 4), straight alpha, at the size that the markup states. Text is not drawn (no system fonts)."""
    png = resvg_py.svg_to_bytes(svg_string=markup, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def _parse(data: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in data:
        raise SvgRefused("the drawing declares XML entities")
    try:
        data.decode("utf-8-sig")
        root = ElementTree.fromstring(data)
    except UnicodeDecodeError as error:
        raise SvgRefused("the drawing is not UTF-8 text") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SvgRefused(f"broken SVG: {error}") from error
    if _name(root) != "svg":
        raise SvgRefused("XML, but not a drawing")
    return root


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _own_size(root: ElementTree.Element) -> tuple[int, int]:
    box = _view_box(root.get("viewBox"))
    width, height = _length(root.get("width")), _length(root.get("height"))
    if width is None and height is None:
        if box is None:
            raise SvgRefused("the drawing states neither a size nor a viewBox")
        scale = SVG_DEFAULT_SIDE / max(box)
        width, height = box[0] * scale, box[1] * scale
    elif width is None or height is None:
        aspect = box[0] / box[1] if box else 1.0
        width = height * aspect if width is None and height is not None else width
        height = width / aspect if height is None and width is not None else height
    assert width is not None
    assert height is not None
    if not (math.isfinite(width) and math.isfinite(height)):
        raise SvgRefused("the size of the drawing is not a number")
    return math.floor(width + 0.5) if width >= 1 else 0, math.floor(height + 0.5) if height >= 1 else 0


def _view_box(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        _, _, width, height = (float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise SvgRefused(f"broken viewBox {text[:40]!r}") from error
    if not (width > 0 and height > 0 and math.isfinite(width) and math.isfinite(height)):
        raise SvgRefused(f"impossible viewBox {text[:40]!r}")
    return width, height


def _length(text: str | None) -> float | None:
    """Pixels, or None where the length is left to the viewBox (absent, `auto`, a percentage)."""
    if text is None or text.strip() in ("", "auto") or text.strip().endswith("%"):
        return None
    match = _LENGTH.fullmatch(text)
    try:
        return float(match[1]) * _UNITS_PX[match[2]] if match else _refuse_length(text)
    except ValueError:
        return _refuse_length(text)


def _refuse_length(text: str) -> float:
    raise SvgRefused(f"broken length {text[:40]!r}")


def _count_elements(root: ElementTree.Element) -> None:
    """Elements after every reference is expanded; raises SvgRefused for loops, absurd depth and absurd numbers."""
    by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
    counts: dict[ElementTree.Element, int | None] = {}

    def count(element: ElementTree.Element, depth: int) -> int:
        if element in counts:
            known = counts[element]
            if known is None:
                raise SvgRefused("the drawing refers to itself")
            return known
        if depth > 200:
            raise SvgRefused("the drawing is nested too deeply")
        counts[element] = None
        targets = [by_id[name] for name in _references(element) if name in by_id]
        total = 1 + sum(count(below, depth + 1) for below in [*element, *targets])
        if total > MAX_ELEMENTS:
            raise SvgRefused(f"the drawing expands to more than {MAX_ELEMENTS} elements")
        counts[element] = total
        return total

    count(root, 0)


def _references(element: ElementTree.Element) -> Iterator[str]:
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == "href" and value.startswith("#"):
            yield value[1:]
        yield from _REFERENCE.findall(value)
