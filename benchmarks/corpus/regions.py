"""Region maps of XDoG line art of real pictures: ours beside the published steps, in speed and in what they find."""

import statistics
import time

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.corpus.published_regions import adjusted_rand_index, published_regions
from benchmarks.measuring import Row, Section, picture_bytes
from dataprep.lines.region_map import RegionSettings, trapped_ball
from dataprep.lines.xdog import RASC_SIGMAS, XDoGSettings, xdog
from dataprep.pictures.decode import decode
from dataprep.pictures.resize import resize_color

BAR, AGREEMENT = 30.0, 0.98
QUOTED_S = {"LineFiller, s": 0.6, "paper, s": 2.53}  # a picture of 256 x 256

ABOUT = f"""\
CPU seconds a picture, medians; line art: XDoG of pictures squashed to the size, its six sigmas in turn. Published: the
steps written plainly with OpenCV flood fill and morphology, in the same run. Agreement: adjusted Rand index over the
pixels that either map gives to a region, the smallest of all pictures. At least {BAR:g} times faster at 512 x 512 and
an agreement of {AGREEMENT} on every picture are wanted. Quoted at 256 x 256: the released LineFiller on XDoG line art,
on another machine, and the paper that uses it (RASC)."""


def run(source: str, count: int) -> Section:
    """One row at 512 x 512 and one at 256 x 256, on `count` pictures."""
    pictures = [decode(data).rgb for data in picture_bytes(source, count)]
    cv2.setNumThreads(1)
    rows: list[Row] = []
    for side in (512, 256):
        ours_s, published_s, agreements, regions = [], [], [], []
        for number, rgb in enumerate(pictures):
            line_art = line_art_of(rgb, side, RASC_SIGMAS[number % len(RASC_SIGMAS)])
            started = time.process_time()
            ours = trapped_ball(line_art, RegionSettings())
            between = time.process_time()
            published = published_regions(line_art)
            published_s.append(time.process_time() - between)
            ours_s.append(between - started)
            agreements.append(agreement(ours, published))
            regions.append(int(ours.max()))
        rows.append(
            {
                "side": side,
                "pictures": len(pictures),
                "regions": statistics.median(regions),
                "ours, s": statistics.median(ours_s),
                "slowest, s": max(ours_s),
                "published, s": statistics.median(published_s),
                **{name: seconds if side == 256 else None for name, seconds in QUOTED_S.items()},
                "agreement": round(min(agreements), 6),
                "ratio": round(statistics.median(p / o for p, o in zip(published_s, ours_s, strict=True)), 1),
            }
        )
    met = rows[0]["ratio"] >= BAR and all(row["agreement"] >= AGREEMENT for row in rows)
    return Section("Region maps", ABOUT, rows, met)


def line_art_of(rgb: npt.NDArray[np.uint8], side: int, sigma: float) -> npt.NDArray[np.uint8]:
    """XDoG of a picture squashed to side x side."""
    gray = cv2.cvtColor(resize_color(rgb, side, side), cv2.COLOR_RGB2GRAY)
    return xdog(np.asarray(gray, np.uint8), XDoGSettings(sigma=sigma))


def agreement(ours: npt.NDArray[np.integer], published: npt.NDArray[np.integer]) -> float:
    """Adjusted Rand index over the pixels that either map gives to a region; 1 where there are none."""
    scored = (ours > 0) | (published > 0)
    return adjusted_rand_index(published[scored], ours[scored]) if scored.any() else 1.0
