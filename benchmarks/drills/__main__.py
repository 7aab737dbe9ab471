"""Which faults does Irodori survive, and at what loss? `python -m benchmarks.drills`

Runs every test that disturbs work (marked `fault`: killed processes, full disks, stores that go, damaged files), with
the seeds asked for, gathers what each of them measured against undisturbed work, and prints one line for each kind of
fault and work. `--markdown docs/faults.md` writes the table between its two marks there. Exit code 1 where a test
failed, which is named.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DRILL_SEED
from tests.faults import PROPERTY, Fault

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- the table of benchmarks.drills -->", "<!-- its end -->"


@dataclass(frozen=True)
class Drills:
    """What the tests of one or more runs measured, and which of them failed."""

    faults: tuple[Fault, ...]
    failed: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how often every drill is tried, each time drawn anew")
    parser.add_argument("--quick", action="store_true", help="without the tests marked slow")
    parser.add_argument("--markdown", type=Path, help="a document whose table is written anew")
    parser.add_argument("tests", nargs="*", help="files of tests, where not all are wanted")
    arguments = parser.parse_args(argv)
    runs = [run(arguments.tests, seed=seed, quick=arguments.quick) for seed in range(arguments.seeds)]
    drills = Drills(tuple(f for run in runs for f in run.faults), tuple(name for run in runs for name in run.failed))
    lines = table(drills.faults)
    print("\n".join(lines))
    if arguments.markdown is not None:
        write_between_marks(arguments.markdown, lines)
    for name in drills.failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if drills.failed or not drills.faults else 0


def run(tests: Sequence[str], *, seed: int, quick: bool) -> Drills:
    """One run of the tests that disturb; each sees the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        chosen = "fault and not slow" if quick else "fault"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            chosen,
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
            *tests,
        ]
        environment = {"OMP_NUM_THREADS": "1", **os.environ, DRILL_SEED: str(seed)}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
        return read_report(report)


def read_report(report: Path) -> Drills:
    """What a JUnit report of pytest holds of faults.

    Raises:
        SystemExit: There is no report, as where pytest itself did not start.
    """
    if not report.exists():
        raise SystemExit("pytest wrote no report: its message stands above")
    faults, failed = list[Fault](), list[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        if any(case.find(outcome) is not None for outcome in ("failure", "error")):
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        for item in case.iter("property"):
            if item.get("name") == PROPERTY:
                faults.append(Fault(**json.loads(item.get("value", ""))))
    return Drills(tuple(faults), tuple(failed))


def table(faults: Iterable[Fault]) -> list[str]:
    """One line for each work and kind, in Markdown; tries, losses and doubles are added up."""
    sums: dict[tuple[str, str], list[int]] = {}
    for fault in faults:
        counts = sums.setdefault((fault.work, fault.kind), [0, 0, 0])
        for place, count in enumerate((fault.tries, fault.lost, fault.doubled)):
            counts[place] += count
    head = ["| work | what happened to it | tries | lost | doubled |", "|---|---|---:|---:|---:|"]
    return head + [
        f"| {work} | {kind} | {tries} | {lost} | {doubled} |"
        for (work, kind), (tries, lost, doubled) in sorted(sums.items())
    ]


def write_between_marks(document: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the two marks of a document.

    Raises:
        SystemExit: The document has no such marks.
    """
    text = document.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{document} has no table to replace: it needs the lines {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    document.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
