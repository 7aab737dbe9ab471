"""The work of an evaluation as its engine hands it out: some parts, which a worker measures one after the other.

A part that is there already was written before the worker that had the task was lost, and is not made again.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dataprep.storage.store import exists, join, read_bytes
from eval.protocols.pairing import Pair, from_parquet
from pipelines.evaluation.extremes import with_thumbnails_of_extremes
from pipelines.evaluation.parts import BATCH, begin, part_uri, write_part
from pipelines.evaluation.plan import EvaluatePlan
from pipelines.evaluation.scoring.pair_scorer import PairScorer
from pipelines.execution.live_counts import TaskCount
from pipelines.execution.ray_data import Step, Steps, Task
from pipelines.recipes.build_recipe import NetworkSettings

PAIRING = "pairs.parquet"
MOST = 8  # parts of a task: 512 pairs. The driver keeps a record of each task
SHOWN_PAIRS = 16

_held: tuple[str, PairScorer] | None = None  # what this process has loaded, and for which evaluation


def scoring(plan: EvaluatePlan, threads: int, device: Literal["cpu", "cuda"]) -> Steps:
    """The work on a task of `part_tasks`; workers read the pairing from the output."""
    work = partial(_score_parts, plan=replace(plan, pairs=()), threads=threads, device=device)
    return Steps((Step(work, NetworkSettings(device=device, per_gpu=1)),))


def part_tasks(key: str, parts: dict[int, range], size: int, counts: str) -> list[Task]:
    """Tasks of so many of these parts each (number -> pairs); key: the plan's; counts: the folder of `live_counts`, ""
    for none."""
    listed = [[number, pairs.start, pairs.stop] for number, pairs in parts.items()]
    chunks = [listed[start : start + size] for start in range(0, len(listed), size)]
    return [
        {"key": key, "parts": chunk, "pairs": sum(stop - start for _, start, stop in chunk), "counts": counts}
        for chunk in chunks
    ]


def _score_parts(task: Task, plan: EvaluatePlan, threads: int, device: Literal["cpu", "cuda"]) -> Task:
    """Measure and write the parts of a task that are not there."""
    count, done = TaskCount(task["counts"], f"{task['parts'][0][0]:06d}"), 0
    pairs = from_parquet(read_bytes(join(plan.out, PAIRING)))
    for number, start, stop in task["parts"]:
        uri = part_uri(plan.out, number)
        if not exists(uri):
            begin(uri)
            scorer, results = _scorer(task["key"], plan, threads, device), []
            for first in range(start, stop, BATCH):
                places = range(first, min(first + BATCH, stop))
                batch: list[Pair] = [pairs[place] for place in places]
                results += scorer(batch, [place < SHOWN_PAIRS for place in places])
                count(done + places.stop - start)
            write_part(uri, pairs[start:stop], with_thumbnails_of_extremes(results, scorer.metrics))
        done += stop - start
        count(done)
    count.end()
    return {"pairs": task["pairs"]}


def _scorer(key: str, plan: EvaluatePlan, threads: int, device: Literal["cpu", "cuda"]) -> PairScorer:
    """The networks of this evaluation, which the process keeps until it is given another."""
    global _held
    if _held is None or _held[0] != key:
        _held = None  # both together may be more than fits
        _held = key, PairScorer(plan, threads, device)
    return _held[1]
