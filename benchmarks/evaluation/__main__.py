"""What does an evaluation of many pairs cost its driver? `python -m benchmarks.evaluation --out runs/evaluation`

Made-up pairs, without pixels: workers write parts of random values and features through the engine, and the driver
scores them, in a process of its own for each number of pairs. Wanted: ten times the pairs take at most 1.2 times the
memory, since the driver holds a few numbers of a pair and sums of features.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.evaluation.driver import DIMS, METRICS, driver
from benchmarks.measuring import Row, Section, fresh, markdown

BAR = 1.2  # of the driver's memory with ten times the pairs


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=52_000, help="of the larger evaluation; the other has a tenth")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))
    asked = parser.parse_args()
    section = driver_section(asked.pairs, asked.out)
    print(markdown(section))
    (asked.out / "evaluation.json").write_text(json.dumps(asdict(section), indent=1) + "\n")
    (asked.out / "evaluation.md").write_text(markdown(section))


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


if __name__ == "__main__":
    main()
