"""How much of a page the lines of XDoG cover, filtered at a picture's own size and at the default one.

`python -m benchmarks.extractors.ink` measures the storybook pictures as they are, all of them, and every tenth of them
as a scan of four times the size, saved as a JPEG; each with the numbers that a corpus draws for it. Prints a table: the
share of the pictures with 0.1 to 40 % of ink, of those with less and with more, and the median and the 5th and 95th
percentile. Ten minutes on one core.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.measuring import DEFAULT_PICTURES
from dataprep.corpus_tools.ink import LEAST_INK, MOST_INK
from dataprep.lines.xdog import LONG_SIDE, XDoGColumns, XDoGSettings, draw_common, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode

Gray = npt.NDArray[np.uint8]
SCALE = 4
QUALITY = 85  # of the scan's JPEG
STYLES: dict[str, Callable[[str], XDoGSettings]] = {
    "xdog": lambda name: XDoGColumns().numbers(name, 0),
    "xdog_common": lambda name: draw_common(name, 0),
}


def scanned(gray: Gray) -> Gray:
    """The picture as a scan of SCALE times its size, through a JPEG."""
    large = cv2.resize(gray, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    _, data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def inked(pages: Iterator[tuple[str, Gray]]) -> dict[tuple[str, int], list[float]]:
    """(style, long side) -> the ink of each page."""
    found: dict[tuple[str, int], list[float]] = {(style, side): [] for style in STYLES for side in (0, LONG_SIDE)}
    for name, page in pages:
        for style, side in found:
            lines = xdog(page, STYLES[style](name), side)
            found[style, side].append(1.0 - float(cv2.mean(lines)[0]) / 255.0)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=DEFAULT_PICTURES / "images", help="a folder of JPEG files")
    parser.add_argument("--every", type=int, default=1, help="take every so many of them")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(arguments.pictures.glob("*.jpg"))[:: arguments.every]
    if not files:
        raise SystemExit(f"{arguments.pictures} has no .jpg: give --pictures")
    print("| pages | number | style | filtered at | 0.1 to 40 % ink | less | more | median (5th, 95th percentile) |")
    print("|---|---|---|---|---|---|---|---|")
    for what, step, view in (("as they are", 1, lambda gray: gray), (f"scans of {SCALE} times the size", 10, scanned)):
        pages = ((file.stem, view(gray_of(decode(file.read_bytes())))) for file in files[::step])
        for (style, side), ink in inked(pages).items():
            shares = np.array(ink)
            less, more = float(np.mean(shares < LEAST_INK)), float(np.mean(shares > MOST_INK))
            middle, low, high = (f"{np.percentile(shares, percent):.2%}" for percent in (50, 5, 95))
            where = f"at most {side}" if side else "their own size"
            print(
                f"| {what} | {len(ink):,} | `{style}` | {where} | {1 - less - more:.1%} | {less:.1%} | {more:.1%} "
                f"| {middle} ({low}, {high}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
