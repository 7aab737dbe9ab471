"""Scores a checkpoint on a corpus by a protocol: pairs, colorizations on Ray workers, merged scores, all saved.

An output directory holds `evaluation.json` (the settings that it was begun with), `pairs.parquet` (the pairing, so that
any score can be recomputed), `parts/` while pairs are measured, then `results.parquet` (one row a pair), `pictures/` of
the first pairs, `lineage.json` and last `scores.json` (with everything a score must name). Workers write whole parts,
on the engine of the corpus build: the same call goes on from the parts that are there. Which pairs there are and what
is reported of them is the protocol's (eval.protocols), how it is measured the metrics'.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from dataprep.documents import read_document
from dataprep.errors import DataError
from dataprep.storage.store import delete_folder, exists, join, write_whole
from eval.metrics.metric import Score
from eval.metrics.sets.frechet import BothSets
from eval.protocols.pairing import to_parquet
from model.errors import ModelError
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import differences
from pipelines.common.progress import Clock, Progress, ProgressSink, silent
from pipelines.evaluation import parts, real_statistics
from pipelines.evaluation.extremes import write_extremes
from pipelines.evaluation.features import RESULTS, FeatureFile, check_features, score_features
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.plan import SETTINGS, EvaluatePlan, real_address
from pipelines.evaluation.scores import collect, describe, numbers, score
from pipelines.evaluation.tasks import MOST, PAIRING, SHOWN_PAIRS, part_tasks, scoring
from pipelines.execution.capacity import Capacity, chosen_device, own_capacity, read_capacity
from pipelines.execution.live_counts import LiveCounts
from pipelines.execution.ray_data import Work, failure_line, over_ray
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.stage_recipe import size_needs_gpu

SCORES = "scores.json"
FETCHED_FOR = 64  # pairs that are worth a machine which has to be fetched


def evaluate(
    plan: EvaluatePlan,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
    parent: lineage.Run | None = None,
) -> dict[str, Any]:
    """Run `plan`, or what is left of it; returns the document that is also written as scores.json.

    parent: the run in MLflow that this one is a part of. One that is finished already is read, and nothing is done.
    Raises PipelineError for an output of other settings.
    """
    name = find_protocol(plan.protocol).name
    document = finished(plan)
    if document is not None:
        pairs = len(plan.pairs)
        progress(Progress(f"evaluate {name}", pairs, pairs, "pairs", note="was complete already"))
        return document
    # What is refused is refused before anything starts.
    features = check_features(plan) if plan.reuse else {}
    if address is None and not plan.reuse and not ray.is_initialized():
        _device(plan, own_capacity())
    params = {"protocol": name, "pairs": len(plan.pairs), "ema": plan.ema, **asdict(plan.sampling)}
    with (
        nullcontext() if plan.reuse else ray_session(log_file, address=address) as session,
        lineage.run("evaluation", name, plan.out, tracking_uri, params, parent) as run,
    ):
        write_whole(join(plan.out, SETTINGS), json.dumps(plan.settings, indent=2).encode())
        write_whole(join(plan.out, PAIRING), to_parquet(plan.pairs))
        parts.forget_tries(plan.out)
        if session is None:
            scores, styles = score_features(plan, features)
        else:
            session.run(lambda: measure_parts(plan, progress))
            scores, styles = score_parts(plan)
        document = describe(plan, scores, styles)
        run.log_metrics(numbers(scores))
        node = lineage.Node(plan.out, "evaluation", f"{name} ({len(plan.pairs)} pairs)")
        inputs = [
            lineage.Input("pictures", plan.pictures) if plan.pictures else lineage.Input("checkpoint", plan.checkpoint),
            lineage.Input("corpus", plan.corpus, plan.snapshot, plan.digest),
        ]
        run.finish(node, inputs)
        # Last the scores, which say that the evaluation is whole.
        write_whole(join(plan.out, SCORES), json.dumps(document, indent=2).encode())
        with suppress(DataError):  # no reason to lose the scores
            delete_folder(join(plan.out, parts.FOLDER))
    return document


def finished(plan: EvaluatePlan) -> dict[str, Any] | None:
    """The document of a plan whose output is whole; None where something is left to do.

    Raises PipelineError for an output that was begun with other settings, or that holds something else.
    """
    recorded = join(plan.out, SETTINGS)
    if not exists(recorded):
        if exists(join(plan.out, lineage.LINEAGE)) or exists(join(plan.out, SCORES)):
            raise PipelineError(f"{plan.out} holds another result; choose another --out")
        return None
    before = read_document(recorded, dict[str, Any])
    if changed := differences(before, plan.settings):
        raise PipelineError(
            f"{plan.out} holds an evaluation of other settings ({'; '.join(changed)}); choose another --out or the "
            "same settings"
        )
    saved = join(plan.out, SCORES)
    return read_document(saved, dict[str, Any]) if exists(saved) else None


def measure_parts(
    plan: EvaluatePlan,
    progress: ProgressSink = silent,
    work: Callable[[EvaluatePlan, int, Literal["cpu", "cuda"]], Work] = scoring,
) -> None:
    """Colour and measure the pairs of the parts that are not there yet, on workers with a GPU or a CPU each.

    The output holds the pairing already, and Ray runs. work: what is done, with so many threads on that device.
    """
    name = find_protocol(plan.protocol).name
    there = parts.parts_there(plan.out)
    pieces = dict(enumerate(parts.split(len(plan.pairs))))
    todo = {number: pairs for number, pairs in pieces.items() if number not in there}
    if not todo:
        return
    capacity = read_capacity()
    device = _device(plan, capacity)
    left = sum(map(len, todo.values()))
    workers = _workers(capacity, device, len(todo), left)
    # On one machine the workers share its cores; on a cluster each has the CPU that it asked for. How many threads a
    # worker has moves last digits, so it follows from all pairs and not from those that are left.
    at_first = _workers(capacity, device, len(pieces), len(plan.pairs))
    threads = max(1, (psutil.cpu_count() or 1) // at_first) if capacity.local else 1
    clock = Clock(f"evaluate {name}", len(plan.pairs), "pairs", "", progress)
    with LiveCounts(clock) as live:
        live.ended(len(plan.pairs) - left)
        clock.tell(len(plan.pairs) - left, "loading the model")
        tasks = part_tasks(plan.key, todo, min(MOST, -(-len(todo) // workers)), live.folder)
        try:
            for done in over_ray(work(plan, threads, device), tasks):
                live.ended(done["pairs"])
        except (ray.exceptions.RayError, DataError, ModelError) as error:
            raise PipelineError(f"evaluation by {plan.protocol} failed: {failure_line(error)}") from error
    if missing := pieces.keys() - parts.parts_there(plan.out):
        raise PipelineError(
            f"{len(missing)} of {len(pieces)} parts were measured and are not in {plan.out}: the workers wrote them to "
            "a disk of their own. Choose an --out that all machines share, such as s3://BUCKET/FOLDER"
        )


def _workers(capacity: Capacity, device: Literal["cpu", "cuda"], pieces: int, pairs: int) -> int:
    """As many as there are GPUs (or CPUs) for them, and one that a cluster would have to fetch for each FETCHED_FOR."""
    on_gpu = device == "cuda"
    there, possible = (capacity.gpus_up, capacity.gpus) if on_gpu else (capacity.cpus_up, capacity.cpus)
    return max(1, min(pieces, max(there, min(possible, -(-pairs // FETCHED_FOR)))))


def _device(plan: EvaluatePlan, capacity: Capacity) -> Literal["cpu", "cuda"]:
    """Where the workers compute. Raises PipelineError for a device that there can never be."""
    if plan.metadata is None:
        return chosen_device(plan.device, capacity, gpus=1, needs_gpu=False, work="scoring pictures")
    size = plan.metadata.size
    work = f"scoring {plan.metadata.stage} of size {size}"
    return chosen_device(plan.device, capacity, gpus=1, needs_gpu=size_needs_gpu(size), work=work)


def score_parts(plan: EvaluatePlan) -> tuple[list[Score], dict[str, int]]:
    """The scores of a plan whose parts are all there, and how many sketches there are of each style.

    Writes one row for each pair, the pictures of the first, features where they are kept, and beside the snapshot the
    statistics of the real pictures.
    """
    kept: list[pa.Table] = []

    def read() -> Iterator[parts.Measured]:
        with FeatureFile(plan.out) if plan.keep_features else nullcontext() as features:
            for number in range(len(parts.split(len(plan.pairs)))):
                table = parts.read_part(parts.part_uri(plan.out, number))
                kept.append(parts.without_vectors(table))
                if features is not None:
                    features.add(table)
                yield parts.measured(table)

    collectors = collect(plan, read())
    for metric in plan.measured():
        collector = collectors[metric.name]
        if isinstance(collector, BothSets) and collector.real is not None and metric.networks[0] not in plan.real:
            real_statistics.keep(real_address(plan, metric.networks[0]), collector.real)
    results = pa.concat_tables(kept, promote_options="default")
    data = BytesIO()
    pq.write_table(results, data)
    write_whole(join(plan.out, RESULTS), data.getvalue())
    write_extremes(plan.out, results, plan.measured(), parts.split(len(plan.pairs)))
    shown = results.slice(0, SHOWN_PAIRS)
    for name in (name for name in results.column_names if name.endswith("_png")):
        for number, png in enumerate(shown[name].to_pylist()):
            write_whole(join(plan.out, "pictures", f"{number:02d}-{name.removesuffix('_png')}.png"), png)
    return score(plan, collectors), Counter(results["style"].to_pylist())
