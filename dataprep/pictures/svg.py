"""SVG markup to pixels through resvg: one size rule, and nothing hostile reaches the renderer.

A drawing is measured before it is drawn. Pictures inside a drawing (linked or embedded) are refused rather than left
out: nothing outside the markup is ever read, and a drawing with a hole in it is not the artist's. Elements that repeat
each other are counted after expansion, so that a few hundred bytes cannot ask for a billion shapes. Entities are those
of Illustrator, short words that stand for themselves; what declares others is refused, and the parser sees neither.

Text is drawn only where a drawing has nothing else, in the font that Pillow carries: fonts of a system differ, and the
same drawing must have the same pixels everywhere.
"""

import codecs
import io
import math
import re
import tempfile
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import resvg_py
from PIL import Image, ImageFont

SVG_DEFAULT_SIDE = 256  # px: the longer side of a drawing that states a viewBox and no size
MAX_SIDE = 16384
MAX_ELEMENTS = 200_000  # after expansion of <use>, patterns, masks, ...

_UNITS_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_LENGTH = re.compile(r"\s*([-+0-9.eE]+?)(px|pt|pc|mm|cm|in|)\s*")
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)")
_TEXT = re.compile(r"<(\w+:)?text[\s/>]")
_PICTURES = {"image", "feImage"}
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z][\w.\-]{0,40})[\"']")

# The document type before the root, and what may be declared inside of it.
_BEFORE_ROOT = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE\s+[\w:.\-]+(?:\s+(?:PUBLIC|SYSTEM)|\s+\"[^\"]*\"|\s+'[^']*')*+\s*(\[|>)")
_ENTITY = re.compile(r"<!ENTITY\s+([\w:.\-]+)\s+(?:\"([^\"%&<']*)\"|'([^'%&<\"]*)')\s*>")
_OTHER_DECLARATION = re.compile(
    r"\s+|<!--.*?-->|<\?.*?\?>|<!(?:ELEMENT|ATTLIST|NOTATION)(?:\"[^\"]*\"|'[^']*'|[^>\"'])*+>", re.DOTALL
)
_DOCTYPE_END = re.compile(r"\]\s*>")
MOST_ENTITIES, MOST_EXPANDED = 256, 1 << 20  # of one drawing; characters that all of them may grow to


class SvgRefused(ValueError):
    """The markup is not a drawing that can be rendered safely; the message says why."""


def looks_like_svg(data: bytes) -> bool:
    start = data[:65536]
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        start = start.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return start[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<svg" in start


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
    return _pixels(resvg_py.svg_to_bytes(svg_string=markup, skip_system_fonts=True))


def rasterize_text(markup: str) -> np.ndarray:
    """`rasterize` with text, all of it in Pillow's font, which has the letters of Western languages."""
    font = _font()
    name = font.getname()[0]
    with tempfile.NamedTemporaryFile(suffix=".ttf") as file:
        file.write(font.font_bytes)
        file.flush()
        png = resvg_py.svg_to_bytes(
            svg_string=markup,
            skip_system_fonts=True,
            font_files=[file.name],
            font_family=name,
            serif_family=name,
            sans_serif_family=name,
            cursive_family=name,
            fantasy_family=name,
            monospace_family=name,
        )
    return _pixels(png)


def has_text(markup: str) -> bool:
    """Whether markup of `measure` holds text."""
    return _TEXT.search(markup) is not None


def has_letters(markup: str) -> bool:
    """Whether `rasterize_text` has every letter of the texts; what it lacks it would draw as a box."""
    elements = (element for element in ElementTree.fromstring(markup).iter() if _name(element) == "text")
    letters = {letter for element in elements for text in element.itertext() for letter in text if not letter.isspace()}
    font = _font()
    box = _drawn(font, "\uffff")
    return all(_drawn(font, letter) != box for letter in letters)


def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow comes with FreeType"
    return font


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    return bytes(font.getmask(letter))


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA"))


def _parse(data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(_without_doctype(_text(data)))
    except (ElementTree.ParseError, ValueError) as error:
        if isinstance(error, SvgRefused):
            raise
        raise SvgRefused(f"broken SVG: {error}") from error
    if _name(root) != "svg":
        raise SvgRefused("XML, but not a drawing")
    return root


def _text(data: bytes) -> str:
    """The markup as text, by its byte order mark, else by the encoding that it declares; raises SvgRefused."""
    declared = _DECLARED.match(data.lstrip()[:400])
    encoding = declared.group(1).decode() if declared else "utf-8"
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), encoding)
    try:
        return data.decode(encoding)  # of text encodings only, none that inflates
    except (UnicodeDecodeError, LookupError) as error:
        raise SvgRefused(f"the drawing is not {encoding.upper()} text") from error


def _without_doctype(text: str) -> str:
    """The markup without its document type, the entities that this declares put in; raises SvgRefused."""
    start = _end(_BEFORE_ROOT, text, 0)
    found = _DOCTYPE.match(text, start)
    if found is None:
        if "<!ENTITY" in text:
            raise SvgRefused("the drawing declares XML entities out of place")
        return text
    at = found.end()
    entities: dict[str, str] = {}
    if found.group(1) == "[":
        entities, at = _declared_entities(text, at)
    body = text[at:]
    if entities:
        grown = sum(body.count(f"&{name};") * len(value) for name, value in entities.items())
        if grown > MOST_EXPANDED:
            raise SvgRefused(f"XML entities grow to {grown:,} characters, more than the {MOST_EXPANDED:,} allowed")
        names = "|".join(map(re.escape, entities))
        body = re.sub(f"&({names});", lambda match: entities[match.group(1)], body)
    return text[:start] + body


def _declared_entities(text: str, at: int) -> tuple[dict[str, str], int]:
    """Name -> value of the entities of a document type, and where it ends; raises SvgRefused for any that are more
    than a word: of other files, of markup, or of other entities, which is how a few lines grow to gigabytes.
    """
    entities: dict[str, str] = {}
    while not (end := _DOCTYPE_END.match(text, at)):
        if entity := _ENTITY.match(text, at):
            entities.setdefault(entity.group(1), entity.group(2) or entity.group(3) or "")
            at = entity.end()
        elif other := _OTHER_DECLARATION.match(text, at):
            at = other.end()
        else:
            raise SvgRefused("the drawing declares XML entities that are external, nested or broken")
        if len(entities) > MOST_ENTITIES:
            raise SvgRefused(f"the drawing declares more than {MOST_ENTITIES} XML entities")
    return entities, end.end()


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


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
