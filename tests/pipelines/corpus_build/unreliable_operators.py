"""Two operators whose failures a test decides: "unreliable" fails on the pictures that a file names, "echo" reads it.

The file, named by the environment, holds {id: reason}; what it says is no part of any fingerprint.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dataprep.faults import Fault
from dataprep.operators.operator import Operator
from dataprep.operators.row_input import RowInput
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode_png
from pipelines.recipes.build_recipe import BuildRecipe

UNRELIABLE = (
    "tests.pipelines.corpus_build.unreliable_operators:unreliable",
    "tests.pipelines.corpus_build.unreliable_operators:echo",
)
FAILURES = "IRODORI_TEST_FAILURES"
CALLS = "calls"  # beside the file of failures: a line for each call


def unreliable(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator("sketch_unreliable", "unreliable", 1, _unreliable)


def echo(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator("sketch_echo", "echo", 1, _echo, inputs=(built["sketch_unreliable"],))


def _unreliable(row: RowInput) -> np.ndarray:
    failures = Path(os.environ[FAILURES])
    with (failures.parent / CALLS).open("a") as calls:
        calls.write(f"{row.id}\n")
    reason = json.loads(failures.read_text()).get(row.id)
    if reason:
        raise Fault(reason, "not today")
    return gray_of(row.picture)


def _echo(row: RowInput) -> np.ndarray:
    """The inverted input; white where there is none, so that a renewed input shows."""
    seen = row.columns["sketch_unreliable"]
    return np.full_like(gray_of(row.picture), 255) if seen is None else 255 - decode_png(seen)
