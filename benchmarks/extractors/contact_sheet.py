"""All styles of line art on storybook and sprite pictures, as one JPEG with captions.

`python -m benchmarks.extractors.contact_sheet --out docs/styles.jpg` draws what the weight store has the networks
for, and names the others below. Columns: the picture, each style, the foreground masks, the regions of the XDoG lines.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.measuring import DEFAULT_PICTURES
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.strokes import StrokeSettings, even_strokes
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.operator import Operator
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.decode import decode, decode_png
from dataprep.pictures.identity import content_id
from pipelines.common.shipped_pictures import PICTURES
from pipelines.extraction.learned_operators import EXTRACTORS, corpus_operators, with_weights
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.weights.store import command_to_get, find_stored

CELL, GAP, CAPTION = 240, 8, 22
STYLES = tuple(field.name for field in fields(StyleSettings))
MASKS = ("isnetis", "isnet_general")
STROKES = "strokes evened: "

Bytes = np.ndarray  # uint8 (H, W, 3)


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet, RGB, and what it is."""

    caption: str
    rgb: Bytes


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", nargs="*", help="files; else six of the storybook, where it is, and six sprites")
    parser.add_argument("--weights", default="", help="the weight store; else the user's own")
    parser.add_argument(
        "--long-side", type=int, default=512, help="pictures are shrunk to it before any operator looks"
    )
    parser.add_argument("--strokes", nargs="*", default=["hed"], help="styles that are shown with evened strokes, too")
    parser.add_argument("--out", type=Path, default=Path("styles.jpg"))
    arguments = parser.parse_args()
    files = [Path(name) for name in arguments.pictures or []] or chosen_pictures()
    networks = NetworkSettings(weights=arguments.weights)
    recipes, absent = available(networks)
    rows = [list(tiles(file, recipes, arguments.long_side, arguments.strokes)) for file in files]
    sheet(rows, absent).save(arguments.out, quality=85, optimize=True)
    print(f"{arguments.out}: {len(rows)} pictures, {', '.join(tile.caption for tile in rows[0])}")
    for line in absent:
        print(line)


def chosen_pictures() -> list[Path]:
    """Six pictures of six storybooks, where they are beside the checkout, and six sprites that ship."""
    books = sorted(DEFAULT_PICTURES.glob("images/*.jpg")) if DEFAULT_PICTURES.is_dir() else []
    stories = list({path.stem.partition("_")[0]: path for path in reversed(books)}.values())
    sprites = sorted((PICTURES / "sprites").glob("*.webp"))
    backgrounds = sorted((PICTURES / "sprites").glob("*.jpg"))
    return [*spread(stories, 6), *spread(sprites, 4), *spread(backgrounds, 2)]


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """`count` of them, evenly over the sorted list."""
    return list(files[:: max(1, len(files) // count)][:count])


def available(networks: NetworkSettings) -> tuple[list[BuildRecipe], list[str]]:
    """Recipes that together make every style and mask whose weights are in the store; a line for each that is not."""
    has = {
        name: all(find_stored(one, networks.weights) for one in extractor.weights)
        for name, extractor in EXTRACTORS.items()
    }
    made = StyleSettings(**{style: float(has.get(style, True)) for style in STYLES})
    first = BuildRecipe(styles=made, networks=networks, regions=RegionSettings(lines=("xdog",)))
    if not has["keras"]:  # which `simplified` is made from
        first = replace(first, styles=replace(made, simplified=0.0))
    bare = BuildRecipe(networks=networks, regions=RegionSettings(lines=()))
    masks = [replace(bare, learned=LearnedSettings(mask=mask)) for mask in MASKS if has[mask]]  # type: ignore[arg-type]
    wanted = [name for name in (*STYLES, *MASKS) if not has.get(name, True)]
    missing = [f"absent: {name} ({command_to_get(EXTRACTORS[name].weights[0], networks.weights)})" for name in wanted]
    return [with_weights(recipe) for recipe in (first, *masks)], missing


def tiles(file: Path, recipes: Sequence[BuildRecipe], long_side: int, strokes: Sequence[str]) -> Iterator[Tile]:
    """The picture and what every operator makes of it; of a recipe with a mask nothing but that."""
    row = shrunk_row(file.read_bytes(), long_side)
    yield Tile(file.stem, row.picture.rgb)
    for recipe in recipes:
        cells: dict[str, bytes | None] = {}
        for operator in corpus_operators(recipe):
            if operator.gives == "picture" or (recipe.learned.mask and operator.gives != "mask"):
                continue
            value = cells[operator.column] = operator.value(replace(row, columns=cells))
            if value is not None:
                yield from shown(operator, decode_png(value), row.picture.rgb, strokes)


def shown(operator: Operator, value: np.ndarray, rgb: Bytes, strokes: Sequence[str]) -> Iterator[Tile]:
    """An operator's value as people look at it, and line art of these styles with evened strokes as well."""
    name = operator.column.removeprefix("sketch_")
    if operator.gives == "map":
        yield Tile("regions of xdog", colored(value))
    elif operator.gives == "mask":
        yield Tile(operator.name, cut_out(rgb, value))
    else:
        yield Tile(name, np.repeat(value[..., None], 3, axis=2))
        if name in strokes:
            yield Tile(STROKES + name, np.repeat(even_strokes(value, StrokeSettings())[..., None], 3, axis=2))


def shrunk_row(data: bytes, long_side: int) -> RowInput:
    """The row of a picture with at most that long side; without alpha, so that masks are the networks' own."""
    picture = decode(data)
    height, width = picture.rgb.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    rgb = np.asarray(cv2.resize(picture.rgb, size, interpolation=cv2.INTER_AREA))
    return RowInput(content_id(data), data, replace(picture, rgb=rgb, alpha=None, source_is_plain_rgb=False))


def colored(labels: np.ndarray) -> Bytes:
    """Each region in a colour of its own, lines black."""
    palette = np.array(
        [[0, 0, 0], *(list(hashlib.sha256(bytes([n % 256, n // 256])).digest()[:3]) for n in range(1, 65536))]
    )
    return (palette[labels] // 2 + np.where(labels[..., None] > 0, 127, 0)).astype(np.uint8)


def cut_out(rgb: Bytes, mask: np.ndarray) -> Bytes:
    """The foreground on magenta."""
    share = mask[..., None].astype(np.float32) / 255
    return np.rint(rgb * share + np.array([255, 0, 255]) * (1 - share)).astype(np.uint8)


def sheet(rows: Sequence[Sequence[Tile]], notes: Sequence[str]) -> Image.Image:
    """One row of tiles for each picture, captions above them, notes at the foot."""
    shown = [[(tile.caption, thumbnail(tile.rgb)) for tile in row] for row in rows]
    heights = [CAPTION + GAP + max(picture.height for _, picture in row) for row in shown]
    width = max(len(row) for row in rows) * (CELL + GAP) + GAP
    page = Image.new("RGB", (width, sum(heights) + CAPTION * len(notes) + GAP), "white")
    draw, font, top = ImageDraw.Draw(page), ImageFont.load_default(14), 0
    for row, height in zip(shown, heights, strict=True):
        for place, (caption, picture) in enumerate(row):
            left = GAP + place * (CELL + GAP)
            draw.text((left, top + 3), caption, "black", font)
            page.paste(picture, (left, top + CAPTION))
        top += height
    for number, note in enumerate(notes):
        draw.text((GAP, top + CAPTION * number), note, "black", font)
    return page


def thumbnail(rgb: Bytes) -> Image.Image:
    """The picture within a cell."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return picture


if __name__ == "__main__":
    main()
