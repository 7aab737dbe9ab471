"""How line art is read, whatever file it comes in: a picture sheet, and how often its polarity is found wrong.

`python -m benchmarks.extractors.line_art --out docs/line-art.png` hands in shipped drawings in many ways (pencil,
photographed, on nothing, in the negative, ...), draws what is read beside each, and prints how far that is from the
drawing. Then the errors of the polarity: on all shipped line art, on XDoG lines of storybook pictures, and on those
with the darkest 20 to 75 % of the picture inked solid; each as it is and in the negative. A minute and a half on one
core.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from benchmarks.measuring import DEFAULT_PICTURES
from dataprep.lines.ink_polarity import find_polarity, tones_of
from dataprep.lines.layers import at_size, keep_lines, line_art_mask
from dataprep.lines.line_art import read_line_art
from dataprep.lines.xdog import COMMON, XDoGSettings, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.assembled import SHIPPED, coloring, line_art, mask, shipped_templates
from dataprep.pictures.decode import decode, decode_rgba

Bytes = npt.NDArray[np.uint8]
OPENMOJI = SHIPPED.parent / "openmoji" / "black"
CELL, GAP, CAPTION = 120, 4, 16
SIZE = 512  # px, of the drawings that are handed in
SOLID = (20, 40, 60, 75)  # percent of a picture that is inked
STORYBOOK = 150  # pictures at most


# ---- ways to hand in a drawing: black lines on white, uint8 (H, W) -> a file ----------------------------------------


def png(pixels: Bytes | npt.NDArray[np.uint16], mode: str | None = None) -> bytes:
    """The pixels as Pillow writes them, in another of its modes where one is named."""
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(out, "PNG")
    return out.getvalue()


def on_nothing(gray: Bytes, color: Sequence[int]) -> bytes:
    """Lines of one colour, drawn by alpha alone."""
    pixels = np.empty((*gray.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = color, 255 - gray
    return png(pixels)


def on_paper(gray: Bytes, ink: Sequence[int], paper: Sequence[int]) -> Bytes:
    """Lines and paper in colours: uint8 (H, W, 3)."""
    share = gray[..., None] / 255
    return np.rint(share * np.array(paper) + (1 - share) * np.array(ink)).astype(np.uint8)


def pencil(gray: Bytes) -> bytes:
    """Grey strokes on grainy paper."""
    grain = np.random.default_rng(0).normal(0, 3, gray.shape)
    page = on_paper(gray, (130,) * 3, (236,) * 3)[..., 0] + grain
    return png(np.clip(np.rint(page), 0, 255).astype(np.uint8))


def photographed(gray: Bytes) -> bytes:
    """Ink on cream paper under uneven light, as a camera's JPEG."""
    y, x = np.mgrid[-1 : 1 : gray.shape[0] * 1j, -1 : 1 : gray.shape[1] * 1j]
    light = 0.82 + 0.12 * x - 0.10 * y - 0.12 * (x * x + y * y) / 2
    grain = np.random.default_rng(1).normal(0, 2, (*gray.shape, 1))
    page = on_paper(gray, (62, 55, 66), (240, 224, 190)) * light[..., None] + grain
    out = io.BytesIO()
    Image.fromarray(np.clip(np.rint(page), 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def cut_out(gray: Bytes) -> bytes:
    """Black lines and white fills, nothing around the figure."""
    return png(np.dstack([gray, gray, gray, np.maximum(line_art_mask(gray), 255 - gray)]))


def palette(gray: Bytes) -> bytes:
    """Sixteen greys, of which the paper's is declared transparent."""
    out = io.BytesIO()
    image = Image.fromarray(gray).quantize(16)
    image.save(out, "PNG", transparency=image.getpixel((0, 0)))
    return out.getvalue()


def deep(gray: Bytes) -> bytes:
    """16 bits a pixel."""
    return png(gray.astype(np.uint16) * 257)


WAYS: Mapping[str, Callable[[Bytes], bytes]] = {
    "black on white": png,
    "white on black": lambda gray: png(255 - gray),
    "black on nothing": lambda gray: on_nothing(gray, (0, 0, 0)),
    "white on nothing": lambda gray: on_nothing(gray, (255, 255, 255)),
    "grey on nothing": lambda gray: on_nothing(gray, (150, 150, 150)),
    "a cut-out": cut_out,
    "pencil": pencil,
    "photographed": photographed,
    "blue pencil": lambda gray: png(on_paper(gray, (110, 160, 240), (255, 255, 255))),
    "red on cream": lambda gray: png(on_paper(gray, (200, 50, 40), (250, 240, 214))),
    "yellow": lambda gray: png(on_paper(gray, (250, 225, 60), (255, 255, 255))),
    "blueprint": lambda gray: png(on_paper(gray, (236, 242, 255), (24, 62, 140))),
    "1 bit": lambda gray: png(np.where(gray < 128, 0, 255).astype(np.uint8), "1"),
    "palette": palette,
    "16 bits": deep,
}


# ---- polarity -----------------------------------------------------------------------------------------------------


def shipped_line_art() -> Iterator[Bytes]:
    """Every line art that ships: 60 emojis and 200 assembled drawings."""
    for file in sorted(OPENMOJI.glob("*.svg")):
        yield gray_of(decode(file.read_bytes()))
    for template in shipped_templates().values():
        yield line_art(coloring(template, 0, 0), 256)


def polarity_errors(pages: Sequence[Bytes]) -> tuple[float, float]:
    """(share of black-on-white pages taken for white on black, share of their negatives not taken for it).

    An empty page has no polarity and does not count.
    """
    drawn = [page for page in pages if page.min() < 128]
    as_given = [_polarity(page) == "light" for page in drawn]
    negative = [_polarity(255 - page) == "dark" for page in drawn]
    return float(np.mean(as_given)), float(np.mean(negative))


def page_sets() -> Iterator[tuple[str, list[Bytes]]]:
    """Kinds of black-on-white pages; those made from storybook pictures only where these are."""
    yield "shipped line art", list(shipped_line_art())
    files = sorted(DEFAULT_PICTURES.glob("images/*.jpg"))
    pictures = [gray_of(decode(file.read_bytes())) for file in files[:: max(1, len(files) // STORYBOOK)]]
    if pictures:
        yield "storybook, XDoG as RASC draws it", [xdog(gray, XDoGSettings()) for gray in pictures]
        lines = [xdog(gray, COMMON[0.4]) for gray in pictures]
        yield "storybook, common XDoG", lines
        for percent in SOLID:
            yield (
                f"the same, darkest {percent} % solid black",
                [
                    np.where(gray < np.percentile(gray, percent), 0, drawn).astype(np.uint8)
                    for gray, drawn in zip(pictures, lines, strict=True)
                ],
            )


def _polarity(gray: Bytes) -> str:
    return find_polarity(tones_of(np.dstack([gray, gray, gray, np.full_like(gray, 255)])))


# ---- the sheet ----------------------------------------------------------------------------------------------------


def sheet(drawings: Sequence[Bytes]) -> Image.Image:
    """For each way: what is handed in, what is read, the mask, and the lines laid over a colour."""
    columns = 3
    rows = -(-len(WAYS) // columns)
    width = columns * (4 * (CELL + GAP) + 3 * GAP)
    canvas = Image.new("RGB", (width, rows * (CELL + CAPTION + GAP)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for number, ((name, way), gray) in enumerate(zip(WAYS.items(), cycle(drawings), strict=False)):
        row, column = divmod(number, columns)
        left, top = column * width // columns, row * (CELL + CAPTION + GAP)
        draw.text((left, top), name, fill="black", font=font)
        for place, cell in enumerate(_cells(way(gray))):
            image = Image.fromarray(cell).resize((CELL, CELL), Image.Resampling.LANCZOS)
            canvas.paste(image.convert("RGB"), (left + place * (CELL + GAP), top + CAPTION))
    return canvas


def _cells(data: bytes) -> Iterator[Bytes]:
    given, read = decode_rgba(data), read_line_art(data)
    share = given[..., 3:] / 255
    yield (given[..., :3] * share + _checkers(given.shape) * (1 - share)).astype(np.uint8)
    yield read.gray
    yield line_art_mask(read.gray)
    yield keep_lines(at_size(_color(given.shape), read, "smooth"), read)


def _checkers(shape: tuple[int, ...]) -> Bytes:
    y, x = np.indices(shape[:2]) // 24 % 2
    return np.where(y ^ x, 120, 170).astype(np.uint8)[..., None]


def _color(shape: tuple[int, ...]) -> Bytes:
    """Four colours that run into each other."""
    corners = np.array([[(246, 196, 120), (240, 140, 150)], [(120, 190, 170), (120, 150, 220)]], np.uint8)
    return np.asarray(cv2.resize(corners, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)


def main() -> None:
    """Draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("line-art.png"))
    arguments = parser.parse_args()
    templates = list(shipped_templates().values())
    assemblies = [coloring(template, 0, 0) for template in templates]
    drawings = [line_art(assembly, SIZE) for assembly in assemblies]
    sheet(drawings[6::37]).quantize(256).save(arguments.out, optimize=True)
    print("| handed in | mean difference (of 255) | 95 % of the drawings below | wrong polarity |\n|---|---|---|---|")
    for name, way in WAYS.items():
        read = [read_line_art(way(gray)) for gray in drawings[::10]]
        away = [np.abs(art.gray.astype(int) - gray).mean() for art, gray in zip(read, drawings[::10], strict=True)]
        light = name.startswith(("white", "blueprint"))
        wrong = sum((art.polarity == "light") != light for art in read)
        print(f"| {name} | {np.mean(away):.2f} | {np.percentile(away, 95):.2f} | {wrong} of {len(read)} |")
    overlaps = [
        _overlap(line_art_mask(gray) > 0, mask(assembly, SIZE) >= 128)
        for gray, assembly in zip(drawings, assemblies, strict=True)
    ]
    print(
        f"\nMask beside the drawing's own, IoU: mean {np.mean(overlaps):.3f}, median {np.median(overlaps):.3f}, "
        f"below 0.9: {np.mean(np.array(overlaps) < 0.9):.0%}\n"
    )
    print("| pages | drawn | taken for white on black | negatives not taken for it |\n|---|---|---|---|")
    for name, pages in page_sets():
        wrongly, missed = polarity_errors(pages)
        print(f"| {name} | {sum(page.min() < 128 for page in pages)} | {wrongly:.1%} | {missed:.1%} |")


def _overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


if __name__ == "__main__":
    main()
