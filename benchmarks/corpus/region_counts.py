"""How many regions line art has at 256 x 256, by kind of line art and variant of the map, beside what RASC counts."""

import statistics
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.measuring import Row, Section
from dataprep.lines.region_map import SCHEDULES, RegionSettings, count_regions, region_map
from dataprep.lines.strokes import StrokeSettings, even_strokes
from dataprep.lines.xdog import COMMON, RASC_SIGMAS, XDoGSettings, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.canvas import CanvasSettings, Placement, placed
from dataprep.pictures.decode import Picture, decode
from dataprep.sources import list_items, read_item

Gray = npt.NDArray[np.uint8]
SIDE = 256
RASC = {"RASC mean": 166, "RASC largest": 729}

ABOUT = f"""\
Pictures on a canvas of {SIDE} x {SIDE} with mirror padding, as RASC has them (IV.B), and the regions of their line art:
XDoG with its six sigmas in turn, the same with strokes joined and evened, XDoG as line-art repositories have it, and
the artist's own where the source has it. RASC (IV.F) counts 166 on average and 729 at most, over 40,000 anime
illustrations; nothing is promised for other pictures."""


def run(source: str, count: int) -> Section:
    """One row for each kind of line art and variant, on `count` pictures spread over the source."""
    cv2.setNumThreads(1)
    found: dict[tuple[str, str], list[int]] = {}
    for number, (picture, placement, drawn) in enumerate(_pictures(source, count)):
        for kind, lines in _line_arts(gray_of(picture), placement, drawn, number).items():
            for variant in SCHEDULES:
                settings = RegionSettings(schedule=SCHEDULES[variant])
                found.setdefault((kind, variant), []).append(count_regions(region_map(lines, settings), SIDE))
    rows: list[Row] = [
        {
            "line art": kind,
            "variant": variant,
            "pictures": len(counts),
            "mean": round(statistics.mean(counts)),
            "median": round(statistics.median(counts)),
            "largest": max(counts),
            **(RASC if kind == "xdog" else dict.fromkeys(RASC)),
        }
        for (kind, variant), counts in found.items()
    ]
    return Section("Regions of a picture", ABOUT, rows, None)


def _pictures(source: str, count: int) -> Iterator[tuple[Picture, Placement, bytes | None]]:
    items = list(list_items(source))
    for item in items[:: max(1, len(items) // count)][:count]:
        data = read_item(item)
        picture, placement = placed(decode(data.data), CanvasSettings(size=SIDE))
        assert placement is not None
        yield picture, placement, data.drawn_sketch


def _line_arts(gray: Gray, placement: Placement, drawn: bytes | None, number: int) -> dict[str, Gray]:
    """Kind of line art -> it, on the canvas."""
    lines = xdog(gray, XDoGSettings(sigma=RASC_SIGMAS[number % len(RASC_SIGMAS)]))
    made = {
        "xdog": lines,
        "xdog, strokes evened": even_strokes(lines, StrokeSettings()),
        "xdog, common setting": xdog(gray, COMMON[0.4]),
    }
    return made if drawn is None else made | {"drawn": placement.sketch(gray_of(decode(drawn)))}
