"""An operator that misbehaves on the pictures that ask for it: the first pixel says how, the second makes it unique."""

import ctypes
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dataprep.operators.operator import Operator
from dataprep.operators.row_input import RowInput
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import encode_png
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import picture

DRILL = "tests.pipelines.corpus_build.fault_operators:drill"
COLUMN = "sketch_drill"
MARK = (1, 2)


def drill(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator(COLUMN, "drill", 1, _compute)


def write_drills(folder: Path, drills: Mapping[int, str], count: int) -> Path:
    """`count` pictures `p<n>.png`; those of `drills` (n -> name in DRILLS) misbehave."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        drawn = picture(number, height=96, width=128)
        drawn[0, 0] = (*MARK, DRILLS.index(drills[number])) if number in drills else (0, 0, 0)
        drawn[0, 1] = np.frombuffer(secrets.token_bytes(3), np.uint8)
        (folder / f"p{number:04d}.png").write_bytes(encode_png(drawn))
    return folder


def once(row: RowInput) -> bool:
    """True for the first process on this machine that asks for this picture."""
    try:
        Path(tempfile.gettempdir(), f"irodori-drill-{row.id}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def forget(ids: list[str]) -> None:
    for row_id in ids:
        Path(tempfile.gettempdir(), f"irodori-drill-{row_id}").unlink(missing_ok=True)


def _compute(row: RowInput) -> Any:
    first = row.picture.rgb[0, 0].tolist()
    behave = _BEHAVIOURS[DRILLS[first[2]]] if tuple(first[:2]) == MARK else gray_of_row
    return behave(row)


def gray_of_row(row: RowInput) -> np.ndarray:
    return gray_of(row.picture)


def _raises(row: RowInput) -> np.ndarray:
    raise KeyError("no such layer")


def _waits(row: RowInput) -> np.ndarray:
    time.sleep(60)
    return gray_of_row(row)


def _hangs_in_c(row: RowInput) -> np.ndarray:
    """A mutex that is locked twice: with Python's lock held, and no signal wakes it."""
    mutex = ctypes.create_string_buffer(128)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    return gray_of_row(row)


def _nan(row: RowInput) -> np.ndarray:
    values = gray_of_row(row) / np.float32(255)
    values[5, 5] = np.nan
    return values


def _hoards(row: RowInput) -> np.ndarray:
    return np.ones((1 << 30,), np.uint8)


def _dies_once(row: RowInput) -> np.ndarray:
    if once(row):
        os.kill(os.getpid(), signal.SIGKILL)
    return gray_of_row(row)


def _dies(row: RowInput) -> np.ndarray:
    os.kill(os.getpid(), signal.SIGKILL)
    return gray_of_row(row)


def _slow(row: RowInput) -> np.ndarray:
    time.sleep(0.2)
    return gray_of_row(row)


def _pauses(row: RowInput) -> np.ndarray:
    time.sleep(1.5)
    return gray_of_row(row)


_BEHAVIOURS: dict[str, Callable[[RowInput], Any]] = {
    "raises": _raises,
    "waits": _waits,
    "hangs in C": _hangs_in_c,
    "nan": _nan,
    "wrong size": lambda row: gray_of_row(row)[1:],
    "wrong kind": lambda row: "a path",
    "cut short": lambda row: encode_png(gray_of_row(row))[:-20],
    "hoards": _hoards,
    "dies once": _dies_once,
    "dies": _dies,
    "slow": _slow,
    "pauses": _pauses,
}
DRILLS = list(_BEHAVIOURS)
