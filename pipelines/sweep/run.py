"""Runs a sweep: every cell that is not scored yet, one after the other, on one engine.

`cells/<key>/` is the output of one evaluation; its key follows from everything that decides its scores, so a cell that
is there is never made again, whoever made it, and the same sweep goes on where it was stopped. A cell that cannot be
planned or fails is noted, and costs its cell alone: the same command tries it again. `sweep.json` lists the cells of
all calls and what failed in the last; the run in MLflow is the parent of theirs.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataprep.documents import read_document
from dataprep.errors import DataError
from dataprep.storage.store import exists, join, write_whole
from eval.errors import EvalError
from model.errors import ModelError
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.errors import EngineLost, PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.evaluation.evaluate import evaluate, finished
from pipelines.evaluation.plan import EvaluatePlan, placed, plan_evaluation
from pipelines.evaluation.sampling import evaluation_sampling
from pipelines.execution.capacity import Device
from pipelines.execution.ray_session import ray_session
from pipelines.sweep.recipe import Cell, SweepRecipe

SWEEP, CELLS = "sweep.json", "cells"
FAILED = (PipelineError, DataError, ModelError, EvalError, SettingsError)


@dataclass(frozen=True)
class SweepReport:
    """What a call did: addresses of the cells that it scored, of those that were there, and label -> why others
    failed."""

    scored: tuple[str, ...]
    reused: tuple[str, ...]
    failed: Mapping[str, str]


def run_sweep(
    recipe: SweepRecipe,
    out: str,
    *,
    size: tuple[int, int] | None = None,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
    device: Device = "auto",
) -> SweepReport:
    """Score every cell that is not scored yet; size: (width, height) that the recipe asks for.

    Raises SettingsError for a recipe of which no cell can be made, PipelineError where the engine or the store is lost.
    """
    out, cells = absolute(out), recipe.cells()
    planned, failed = dict[str, Cell](), dict[str, str]()  # a plan holds its pairs: only where it goes is kept
    reused, labels = list[str](), dict[str, str]()
    for number, cell in enumerate(cells):
        progress(Progress("sweep", number, len(cells), "cells", note=f"planning {cell.label}"))
        try:
            plan = _planned(recipe, cell, out, size, device)
            labels[cell.label] = plan.out
            if plan.out not in planned and finished(plan) is not None:
                reused.append(plan.out)
            planned.setdefault(plan.out, cell)
        except FAILED as error:
            failed[cell.label] = str(error)
    todo = {uri: cell for uri, cell in planned.items() if uri not in reused}
    _note(out, cells, labels, failed)
    scored = list[str]()
    if not todo and (failed or exists(join(out, lineage.LINEAGE))):
        note = f"{len(failed)} failed" if failed else "all were scored already"
        progress(Progress("sweep", len(reused), len(cells), "cells", note=note))
        return SweepReport((), tuple(reused), failed)
    params = {"corpus": recipe.corpus, "protocols": ", ".join(recipe.protocols)}
    with ExitStack() as stack:
        if todo:
            stack.enter_context(ray_session(log_file, address=address))
        run = stack.enter_context(lineage.run("sweep", Path(out).name, out, tracking_uri, params))
        for uri, cell in todo.items():
            done = len(reused) + len(scored)
            progress(Progress("sweep", done, len(cells), "cells", note=cell.label))
            try:
                # Planned again: sums over real pictures that another cell has made by now are used.
                plan = _planned(recipe, cell, out, size, device)
                where = {"tracking_uri": tracking_uri, "address": address}
                evaluate(plan, log_file=log_file, progress=progress, parent=run, **where)
                scored.append(uri)
            except EngineLost:
                raise
            except FAILED as error:
                failed[cell.label] = str(error)
                _note(out, cells, labels, failed)
        progress(Progress("sweep", len(reused) + len(scored), len(cells), "cells"))
        run.log_metrics({"cells": len(cells), "scored": len(scored), "failed": len(failed)})
        inputs = [lineage.Input("evaluation", uri) for uri in (*reused, *scored)]
        run.finish(lineage.Node(out, "sweep", f"{len(cells)} cells"), inputs)
    return SweepReport(tuple(scored), tuple(reused), failed)


def _planned(recipe: SweepRecipe, cell: Cell, out: str, size: tuple[int, int] | None, device: Device) -> EvaluatePlan:
    """The evaluation of a cell, with the output that its settings give it."""
    checkpoint = "starter" if cell.pictures else cell.checkpoint
    plan = plan_evaluation(
        checkpoint,
        recipe.corpus,
        cell.protocol,
        join(out, CELLS, "planned"),
        sampling=evaluation_sampling(checkpoint, cell.protocol, cell.sampling),
        metrics=recipe.metrics or None,
        limit=recipe.limit,
        size=size,
        resize=recipe.resize,
        style=recipe.style,
        seed=cell.seed,
        small_sets=recipe.small_sets,
        pictures=cell.pictures,
        device=device,
    )
    # Whether sums over the real pictures are there already changes no score.
    decides = {name: value for name, value in plan.settings.items() if name != "real_statistics"}
    key = hashlib.sha256(json.dumps([plan.checkpoint, plan.pictures, decides]).encode()).hexdigest()
    return placed(plan, join(out, CELLS, key[:16]))


def _note(out: str, cells: list[Cell], labels: Mapping[str, str], failed: Mapping[str, str]) -> None:
    """Write the cells of this call and of those before, and what failed in this one; labels: of the cells that could be
    planned, and where they go."""
    keys = {label: uri.rpartition("/")[2] for label, uri in labels.items()}
    now = [asdict(cell) | {"label": cell.label, "key": keys.get(cell.label)} for cell in cells]
    uri = join(out, SWEEP)
    before = read_document(uri, dict[str, Any])["cells"] if exists(uri) else []
    ours = {cell["key"] for cell in now}
    earlier = [cell for cell in before if cell["key"] and cell["key"] not in ours]
    write_whole(uri, json.dumps({"cells": [*earlier, *now], "failed": dict(failed)}, indent=2).encode())
