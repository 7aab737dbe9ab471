"""Times and sizes of single steps, and the lines fitted through them: what the measurements of costs share."""

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataprep.corpus.column_files import ColumnWriter, describe
from dataprep.operators.styles import StyleSettings
from pipelines.recipes.build_recipe import BuildRecipe

EVERYTHING = BuildRecipe(styles=StyleSettings(xdog=1.0, xdog_common=1.0))  # every operator without a network
Sizes = dict[float, list[tuple[float, float]]]  # megapixels -> (ms, bytes) of each picture


def least(work: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of CPU time, the least of some runs."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * min(times)


def fitted(sizes: Sizes) -> dict[str, Any]:
    """The lines through the means at each size, by least squares of relative errors; no part is negative."""
    megapixels = np.array(list(sizes))
    ms, size = (np.array([np.mean([cost[part] for cost in costs]) for costs in sizes.values()]) for part in (0, 1))
    line = relative_line(megapixels, ms)
    guess = line[0] + line[1] * megapixels
    worst = float(np.max(np.abs(guess / np.maximum(ms, 1e-9) - 1)))
    return {"ms": line, "bytes": relative_line(megapixels, size), "worst": round(worst, 3)}


def relative_line(x: np.ndarray, y: np.ndarray) -> list[float]:
    """[a, b] >= 0 that make a + b x relatively nearest to y."""
    from scipy.optimize import nnls

    scale = 1 / np.maximum(y, 1e-9)
    (a, b), _ = nnls(np.stack([scale, x * scale], axis=1), y * scale)
    return [float(f"{part:.5g}") if part > 1e-9 * max(a, b) else 0.0 for part in (a, b)]


def resized(picture: np.ndarray, megapixels: float) -> np.ndarray:
    scale = (megapixels * 1e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def written(column: str, row_id: str, value: bytes | None) -> None:
    writer = ColumnWriter(column)
    writer.add(row_id, value)
    describe("path", "train", "shard", column, "fingerprint", writer.finish())


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """The processor's name and what the system says of it."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"
