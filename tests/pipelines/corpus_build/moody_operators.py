"""Two operators whose failures a test decides: "moody" fails on the pictures that a file names, "echo" reads "moody".

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

MOODY = ("tests.pipelines.corpus_build.moody_operators:moody", "tests.pipelines.corpus_build.moody_operators:echo")
MOODS = "IRODORI_TEST_MOODS"
CALLS = "calls"  # beside the file of moods: a line for each call


def moody(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator("sketch_moody", "moody", 1, _moody)


def echo(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator("sketch_echo", "echo", 1, _echo, inputs=(built["sketch_moody"],))


def _moody(row: RowInput) -> np.ndarray:
    moods = Path(os.environ[MOODS])
    with (moods.parent / CALLS).open("a") as calls:
        calls.write(f"{row.id}\n")
    reason = json.loads(moods.read_text()).get(row.id)
    if reason:
        raise Fault(reason, "not today")
    return gray_of(row.picture)


def _echo(row: RowInput) -> np.ndarray:
    """The inverted input; white where there is none, so that a renewed input shows."""
    seen = row.columns["sketch_moody"]
    return np.full_like(gray_of(row.picture), 255) if seen is None else 255 - decode_png(seen)
