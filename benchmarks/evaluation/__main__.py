"""What does an evaluation cost? `python -m benchmarks.evaluation --pictures DIR --out runs/evaluation`

The driver: made-up pairs, without pixels: workers write parts of random values and features through the engine, and the
driver scores them, in a process of its own for each number of pairs. Wanted: ten times the pairs take at most 1.2 times
the memory, since the driver holds a few numbers of a pair and sums of features.

Features of the pictures of a folder (--pictures): through pytorch-fid, torch-fidelity and Irodori, with one set of
made-up weights. Wanted: at least as fast with one worker, 1.7 times as fast with two, and for ten times the pictures at
most 1.2 times the memory.
"""

import argparse
import json
from dataclasses import asdict
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

from benchmarks.evaluation.driver import DIMS, METRICS, driver
from benchmarks.evaluation.features import measure, together
from benchmarks.measuring import Row, Section, fresh, markdown

BAR = 1.2  # of the driver's memory with ten times the pairs, and of a worker's with ten times the pictures
TWO_WORKERS = 1.7  # times as fast
ROUNDS = 3
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=52_000, help="of the larger evaluation; the other has a tenth")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures; without it only the driver is measured")
    parser.add_argument("--count", type=int, default=48, help="pictures for Inception")
    parser.add_argument("--many", type=int, default=2_000, help="pictures for memory; the other has a tenth")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))
    asked = parser.parse_args()
    sections = [driver_section(asked.pairs, asked.out)] if asked.pairs else []
    if asked.pictures:
        files = sorted(path for path in asked.pictures.rglob("*") if path.suffix.lower() in ENDINGS)
        sections += [speed_section(files[: asked.count]), memory_section(files, asked.many)]
    asked.out.mkdir(parents=True, exist_ok=True)
    print("\n".join(map(markdown, sections)))
    (asked.out / "evaluation.json").write_text(json.dumps([asdict(section) for section in sections], indent=1) + "\n")
    (asked.out / "evaluation.md").write_text("\n".join(map(markdown, sections)))


def driver_section(pairs: int, out: Path) -> Section:
    """The driver's peak memory and time with a tenth of the pairs and with all."""
    rows: list[Row] = []
    for count in (pairs // 10, pairs):
        found = fresh(driver, count, str(out / str(count)))
        rows.append({"pairs": count, **found, "over a tenth": found["peak MiB"] / (rows or [found])[0]["peak MiB"]})
    about = (
        f"Made-up pairs without pixels: {len(METRICS)} metrics, features of {DIMS} numbers of each result and "
        f"original; the driver's process alone. Wanted: at most {BAR} times the memory."
    )
    return Section("The driver of an evaluation", about, rows, rows[-1]["over a tenth"] <= BAR)


def speed_section(files: list[Path]) -> Section:
    """Pictures a second of each side, in turns, and of two workers; the best of ROUNDS."""
    sides = ["torch-fidelity", "Irodori", *(["pytorch-fid"] if find_spec("pytorch_fid") else [])]
    best = dict.fromkeys([*sides, "Irodori, 2 workers"], 0.0)
    for _ in range(ROUNDS):
        for side in sides:
            best[side] = max(best[side], len(files) / fresh(measure, side, files)["seconds"])
        best["Irodori, 2 workers"] = max(best["Irodori, 2 workers"], len(files) / together(files, 2))
    own = best["Irodori"]
    rows: list[Row] = [{"side": side, "pictures/s": rate, "Irodori over it": own / rate} for side, rate in best.items()]
    met = all(own >= best[side] for side in sides) and best["Irodori, 2 workers"] >= TWO_WORKERS * own
    absent = "" if "pytorch-fid" in sides else " pytorch-fid is not installed here."
    about = (
        f"{len(files)} pictures by Inception-v3 with made-up weights, one thread each, best of {ROUNDS} in turns."
        f"{absent} Wanted: at least as fast as each, and {TWO_WORKERS} times with two workers."
    )
    return Section("Features of pictures", about, rows, met)


def memory_section(files: list[Path], many: int) -> Section:
    """A worker's peak memory for a tenth of so many pictures and for all, by the small network."""
    rows: list[Row] = []
    for count in (many // 10, many):
        found = fresh(measure, "lite", list(islice(cycle(files), count)))
        rows.append({"pictures": count, **found, "over a tenth": found["peak MiB"] / (rows or [found])[0]["peak MiB"]})
    about = f"EfficientNet-Lite0, one process. Wanted: at most {BAR} times the memory."
    return Section("Memory of a worker", about, rows, rows[-1]["over a tenth"] <= BAR)


if __name__ == "__main__":
    main()
