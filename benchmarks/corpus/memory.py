"""Peak memory of `irodori corpus build` at N rows and at ten times as many: the driver's and its workers'.

The peak of a process is what the kernel counted (VmHWM in /proc), read while it lives; so this needs Linux.
"""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.measuring import Row, Section
from dataprep.sources import list_items

BAR = 1.2
TIMES = 10
EVERY_S = 0.2
COMMAND = "from jobs.cli import main; main()"

ABOUT = f"""\
MiB at the peak (VmHWM, shared pages counted for each process). Workers: the processes that Ray runs tasks in. Ratio: to
the row above, of the sum and of the largest worker; at most {BAR} is wanted of both, and of the driver."""


def run(source: str, rows: int, out: Path, workers: int = 2) -> Section:
    """A build of `rows` pictures and one of ten times as many, or of all where there are fewer."""
    there = sum(1 for _ in list_items(source))
    few = min(rows, there // TIMES)
    measured = [_row(_peaks(source, limit, out / f"rows-{limit}", workers), limit) for limit in (few, few * TIMES)]
    small, large = measured
    ratios = {name: round(large[name] / small[name], 3) for name in ("driver", "largest worker", "sum")}
    about = f"{ABOUT} Measured: " + ", ".join(f"{name} {ratio:g}" for name, ratio in ratios.items()) + "."
    return Section("Peak memory", about, measured, all(ratio <= BAR for ratio in ratios.values()))


def _row(peaks: tuple[int, list[int]], rows: int) -> Row:
    driver, workers = peaks
    sizes = {"driver": driver, "largest worker": max(workers, default=0), "sum": driver + sum(workers)}
    return {"rows": rows, "workers": len(workers), **{name: size / 1024 for name, size in sizes.items()}}


def _peaks(source: str, limit: int, out: Path, workers: int) -> tuple[int, list[int]]:
    """(KiB of the driver, KiB of each worker process). Raises RuntimeError where the build fails."""
    out = out.absolute()
    out.mkdir(parents=True)
    command = [sys.executable, "-c", COMMAND, "corpus", "build", "--source", source, "--out", str(out / "corpus")]
    command += ["--limit", str(limit), "--workers", str(workers), "--tracking-uri", f"sqlite:///{out}/mlflow.db"]
    peaks: dict[int, int] = {}
    with (out / "build.log").open("wb") as log:
        build = subprocess.Popen(command, stdout=log, stderr=log)
        driver = psutil.Process(build.pid)
        while build.poll() is None:
            for process in [driver, *_children(driver)]:
                peaks[process.pid] = max(peaks.get(process.pid, 0), _peak_kib(process.pid))
            time.sleep(EVERY_S)
    if build.returncode:
        raise RuntimeError(f"the build of {limit} pictures failed:\n{(out / 'build.log').read_text()}")
    return peaks.pop(build.pid), [peak for peak in peaks.values() if peak]


def _children(driver: psutil.Process) -> list[psutil.Process]:
    """The processes in which Ray runs tasks."""
    found = []
    for process in driver.children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _peak_kib(pid: int) -> int:
    """0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
