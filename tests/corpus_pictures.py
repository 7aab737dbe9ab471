"""Small generated pictures for corpus tests, and a recipe under which they make several shards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dataprep.corpus.column_files import ColumnWriter, read_rows
from dataprep.pictures.decode import encode_png
from pipelines.recipes.build_recipe import BuildRecipe

SMALL = BuildRecipe(validation_share=0.25, shard_rows=4)
SMALL = replace(SMALL, filters=replace(SMALL.filters, min_side=32))
BROKEN = "broken.png"


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 (H, W, 3): coloured shapes on a coloured ground, another one for each seed."""
    rng = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), rng.integers(100, 256, 3), np.uint8)
    for _ in range(12):
        centre = tuple(int(value) for value in rng.integers(0, (width, height)))
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(canvas, centre, int(rng.integers(3, 14)), color, -1)
        cv2.circle(canvas, centre, int(rng.integers(3, 14)), (0, 0, 0), 1)
    return canvas


def write_pictures(folder: Path, count: int, first: int = 0, **size: int) -> Path:
    """`count` pictures `p<seed>.png` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"p{seed:04d}.png").write_bytes(encode_png(picture(seed, **size)))
    return folder


def write_broken(folder: Path) -> Path:
    """A PNG that ends in the middle."""
    (folder / BROKEN).write_bytes(encode_png(picture(9999))[:200])
    return folder / BROKEN


def harm_cell(address: str, position: int, harm: Callable[[bytes], bytes | None]) -> None:
    """Write a color file again with one cell changed, as nothing of ours would."""
    writer = ColumnWriter("color")
    for number, row in enumerate(read_rows(Path(address).read_bytes(), "color", address)):
        writer.add(row["id"], harm(row["color"]) if number == position else row["color"])
    Path(address).write_bytes(writer.finish())
