"""Scores a checkpoint on a corpus by a protocol: pairs, colorizations on Ray workers, merged scores, all saved.

An output directory holds `scores.json` (with everything a score must name), `pairs.parquet` (the pairing, so that any
score can be recomputed), `results.parquet` (one row a pair), `pictures/` of the first pairs and `lineage.json`. Which
pairs there are and what is reported of them is the protocol's (eval.protocols), how it is measured the metrics'.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from dataprep.storage.store import join, read_bytes, write_whole
from eval.protocols.pairing import to_parquet
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.pair_scorer import PairResult, PairScorer
from pipelines.evaluation.plan import EvaluatePlan
from pipelines.evaluation.scores import describe, numbers, score
from pipelines.execution.capacity import Capacity, chosen_device, own_capacity, read_capacity
from pipelines.execution.ray_data import failure_line
from pipelines.execution.ray_session import ray_session
from pipelines.execution.stalls import stall_reports
from pipelines.recipes.stage_recipe import size_needs_gpu

SHOWN_PAIRS = 16
BATCH = 8
FETCHED_FOR = 8  # batches that are worth a machine which has to be fetched


def evaluate(
    plan: EvaluatePlan,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Run `plan`; returns the document that is also written as scores.json."""
    name = find_protocol(plan.protocol).name
    if address is None and not ray.is_initialized():
        _device(plan, own_capacity())  # refused before anything starts
    params = {"protocol": name, "pairs": len(plan.pairs), "ema": plan.ema, **asdict(plan.sampling)}
    with (
        ray_session(log_file, address=address) as session,
        lineage.run("evaluation", name, plan.out, tracking_uri, params) as run,
    ):
        done: dict[int, list[PairResult]] = {}  # batch -> its results, which outlive an engine that is lost
        session.run(lambda: _run_pairs(plan, done, progress))
        results = [result for _, batch in sorted(done.items()) for result in batch]
        scores = score(plan, results)
        document = describe(plan, scores)
        _save(plan, results, document)
        run.log_metrics(numbers(scores))
        node = lineage.Node(plan.out, "evaluation", f"{name} ({len(plan.pairs)} pairs)")
        inputs = [
            lineage.Input("checkpoint", plan.checkpoint),
            lineage.Input("corpus", plan.corpus, plan.snapshot, plan.digest),
        ]
        run.finish(node, inputs)
    return document


def read_results(out: str) -> list[dict[str, Any]]:
    """One row for each pair of a finished evaluation: pair, numbers, and PNG bytes of the pairs that are shown."""
    return pq.read_table(BytesIO(read_bytes(join(out, "results.parquet")))).to_pylist()


def _run_pairs(plan: EvaluatePlan, done: dict[int, list[PairResult]], progress: ProgressSink) -> None:
    """Colour and measure the batches of pairs that are not in `done` yet, on workers with a GPU or a CPU each."""
    name = find_protocol(plan.protocol).name
    batches = [range(start, min(start + BATCH, len(plan.pairs))) for start in range(0, len(plan.pairs), BATCH)]
    todo = deque(number for number in range(len(batches)) if number not in done)
    scorer, shared = _scorer(plan, len(todo)), ray.put(plan)
    workers = [scorer.actor.remote(shared, scorer.threads, scorer.device) for _ in range(scorer.count)]

    def report_progress(note: str = "") -> None:
        pairs = sum(len(batches[number]) for number in done)
        progress(Progress(f"evaluate {name}", pairs, len(plan.pairs), "pairs", note=note))

    # A worker gets a batch when it is there and has none: on a cluster that is growing some come late.
    free: dict[Any, Any] = {worker.__ray_ready__.remote(): worker for worker in workers}
    busy: dict[Any, tuple[Any, int]] = {}
    report_progress("loading the model")
    try:
        with stall_reports(f"evaluate {name}") as stall:
            while todo or busy:
                (first,), _ = ray.wait([*free, *busy])
                answer = ray.get(first)
                worker, number = (free.pop(first), None) if first in free else busy.pop(first)
                stall.ended()
                if number is not None:
                    done[number] = answer
                    report_progress()
                if todo:
                    number = todo.popleft()
                    pairs = [plan.pairs[n] for n in batches[number]]
                    busy[worker.__call__.remote(pairs, [n < SHOWN_PAIRS for n in batches[number]])] = worker, number
    except ray.exceptions.RayError as error:
        raise PipelineError(f"evaluation by {plan.protocol} failed: {failure_line(error)}") from error
    # Workers of a lost engine are gone with it, those of a failed evaluation when this session ends.
    for worker in workers:
        ray.kill(worker)


@dataclass(frozen=True)
class _Scorers:
    """The workers of an evaluation: what each asks for, how many, and the threads of each."""

    actor: Any
    count: int
    threads: int
    device: Literal["cpu", "cuda"]


def _scorer(plan: EvaluatePlan, batches: int) -> _Scorers:
    """As many workers as there are GPUs (or CPUs) for them; one that a cluster would have to fetch, for each
    FETCHED_FOR batches. Raises PipelineError for a device that the cluster cannot have."""
    capacity = read_capacity()
    device = _device(plan, capacity)
    on_gpu = device == "cuda"
    there, possible = (capacity.gpus_up, capacity.gpus) if on_gpu else (capacity.cpus_up, capacity.cpus)
    count = max(1, min(batches, max(there, min(possible, -(-batches // FETCHED_FOR)))))
    # On one machine the workers share its cores; on a cluster each has the CPU that it asked for.
    threads = max(1, (psutil.cpu_count() or 1) // count) if capacity.local else 1
    actor = ray.remote(num_cpus=0 if on_gpu else 1, num_gpus=1 if on_gpu else 0)(PairScorer)
    return _Scorers(actor, count, threads, device)


def _device(plan: EvaluatePlan, capacity: Capacity) -> Literal["cpu", "cuda"]:
    """Where the workers compute. Raises PipelineError for a device that there can never be."""
    size = plan.metadata.size
    work = f"scoring {plan.metadata.stage} of size {size}"
    return chosen_device(plan.device, capacity, gpus=1, needs_gpu=size_needs_gpu(size), work=work)


def _save(plan: EvaluatePlan, results: Sequence[PairResult], document: dict[str, Any]) -> None:
    # pairs, and one row for each; a vector is a feature of its picture
    write_whole(join(plan.out, "pairs.parquet"), to_parquet(plan.pairs))
    rows = [asdict(pair) | result.row for pair, result in zip(plan.pairs, results, strict=True)]
    if not plan.keep_features:
        rows = [{key: value for key, value in row.items() if not isinstance(value, list)} for row in rows]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    write_whole(join(plan.out, "results.parquet"), buffer.getvalue())
    # pictures, and last the scores, which say that the evaluation is whole
    for number, result in enumerate(results[:SHOWN_PAIRS]):
        for name, png in result.pictures.items():
            write_whole(join(plan.out, "pictures", f"{number:02d}-{name.removesuffix('_png')}.png"), png)
    write_whole(join(plan.out, "scores.json"), json.dumps(document, indent=2).encode())
