"""Scores a checkpoint on a corpus by a protocol: pairs, colorizations on Ray workers, merged scores, all saved.

An output directory holds `scores.json` (with everything a score must name), `pairs.parquet` (the pairing, so that any
score can be recomputed), `results.parquet` (one row a pair), `pictures/` of the first pairs and `lineage.json`. Which
pairs there are and what is reported of them is the protocol's (eval.protocols), how it is measured the metrics'.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

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
from pipelines.execution.ray_data import failure_line
from pipelines.execution.ray_session import ray_session

SHOWN_PAIRS = 12
BATCH = 8


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
    params = {"protocol": name, "pairs": len(plan.pairs), "ema": plan.ema, **asdict(plan.sampling)}
    with (
        ray_session(log_file, address=address),
        lineage.run("evaluation", name, plan.out, tracking_uri, params) as run,
    ):
        results = _run_pairs(plan, progress)
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


def _run_pairs(plan: EvaluatePlan, progress: ProgressSink) -> list[PairResult]:
    """Colour and measure all pairs on as many workers as there are CPUs (or GPUs), in the order of the pairs."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    batches = [list(range(start, min(start + BATCH, len(plan.pairs)))) for start in range(0, len(plan.pairs), BATCH)]
    count = max(1, min(gpus or int(ray.cluster_resources().get("CPU", 1)), len(batches)))
    threads = max(1, (psutil.cpu_count() or 1) // count)
    actor = ray.remote(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0)(PairScorer)
    shared = ray.put(plan)
    pool = ray.util.ActorPool([actor.remote(shared, threads) for _ in range(count)])

    def submit(scorer: Any, numbers: list[int]) -> Any:
        return scorer.__call__.remote([plan.pairs[n] for n in numbers], [n < SHOWN_PAIRS for n in numbers])

    stage = f"evaluate {find_protocol(plan.protocol).name}"
    results: list[PairResult] = []
    progress(Progress(stage, 0, len(plan.pairs), "pairs", note="loading the model"))
    try:
        for part in pool.map(submit, batches):
            results += part
            progress(Progress(stage, len(results), len(plan.pairs), "pairs"))
    except ray.exceptions.RayError as error:
        raise PipelineError(f"evaluation by {plan.protocol} failed: {failure_line(error)}") from error
    return results


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
