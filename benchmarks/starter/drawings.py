"""What the sheets show: held-out drawings, and line art of real pictures, each with an unrelated reference.

Held out means: its template, or its picture, was in no training row of the starter (model/assets/starter/sources.json).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from benchmarks.measuring import DEFAULT_PICTURES
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.assembled import Assembly, coloring, line_art, recolored, render, shipped_templates
from dataprep.pictures.decode import Picture, decode
from dataprep.pictures.identity import content_id
from pipelines.common.shipped_pictures import DRAWINGS, SPRITES
from pipelines.demo.gallery import REAL
from pipelines.weights.checkpoints import SHIPPED

SIDE = 768  # of sketches, as an artist gives them
SEED = 11
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A sketch (h, w), a reference (h, w, 3), and the right answer where it is known, uint8."""

    name: str
    sketch: np.ndarray
    reference: np.ndarray
    answer: np.ndarray | None = None


def assembled_drawings(count: int) -> list[Drawing]:
    """Held-out templates in turn, spread evenly over all; each in the colours of one half a list away."""
    trained = {name for source in sources() for name in source["files"]}
    held_out = [template for template in shipped_templates().values() if template.id not in trained]
    drawings = [coloring(template, number, SEED) for number, template in enumerate(_spread(held_out, count))]
    half = len(drawings) // 2
    return [_assembled(drawing, drawings[number - half]) for number, drawing in enumerate(drawings)]


def _assembled(drawing: Assembly, reference: Assembly) -> Drawing:
    answer = render(recolored(drawing, reference), SIDE)
    return Drawing(f"drawing by {drawing.style}", line_art(drawing, SIDE), render(reference, SIDE), answer)


def illustrators() -> list[Drawing]:
    """Line art by illustrators that ships, none of which was trained on; each after a picture that ships."""
    pictures = [tuple(decode(path.read_bytes()) for path in (DRAWINGS / a, SPRITES / b)) for a, b in REAL]
    return [Drawing("drawing by an illustrator", gray_of(sketch), colors.rgb) for sketch, colors in pictures]


def sprites(count: int) -> list[Drawing]:
    """Characters that ship, none of which was trained on: lines by XDoG, the next one's colours."""
    files = sorted(SPRITES.glob("*.webp"))
    return _lined("sprite", [decode(file.read_bytes()) for file in _spread(files, count)])


def storybook_pages(count: int) -> list[Drawing]:
    """Pages that training did not see, where the storybook is: lines by XDoG, another page's colours."""
    trained = trained_ids()
    files = sorted(DEFAULT_PICTURES.glob("images/*.jpg")) if DEFAULT_PICTURES.is_dir() else []
    unseen = [file for file in files if content_id(file.read_bytes()) not in trained]
    return _lined("storybook page", [decode(file.read_bytes()) for file in _spread(unseen, count)])


def _lined(name: str, pictures: Sequence[Picture]) -> list[Drawing]:
    half = max(1, len(pictures) // 2)
    return [
        Drawing(f"{name}, lines by XDoG", xdog(gray_of(picture), XDoGSettings()), pictures[number - half].rgb)
        for number, picture in enumerate(pictures)
    ]


def trained_ids() -> frozenset[str]:
    """The sha256 of every picture that was trained on."""
    return frozenset(entry[0] for source in sources() for entry in source["files"].values())


@cache
def sources() -> list[dict[str, dict[str, list[str]]]]:
    """What the starter was trained on."""
    found: list[dict[str, dict[str, list[str]]]] = json.loads((SHIPPED / "sources.json").read_text())
    return found


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of them, evenly over the list."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items)), dtype=int)]
