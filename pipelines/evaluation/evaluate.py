"""Scores a checkpoint on a corpus by a protocol: pairs, colorizations on Ray workers, merged scores, all saved.

An output directory holds `scores.json` (with everything a score must name), `pairs.parquet` (the pairing, so that any
score can be recomputed), `results.parquet` (one row a pair), `pictures/` of the first pairs and `lineage.json`.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.snapshot import open_snapshot
from dataprep.storage.store import check_reachable, join, read_bytes, write_whole
from eval.errors import EvalError
from eval.metrics.features import load_efficientnet_lite0
from eval.metrics.frechet import FrechetStatistics
from eval.metrics.known_answer import summarize
from eval.protocols import Pair, deformed_reference, known_answer, random_reference, self_reference, to_parquet
from model.checkpoint import CheckpointMetadata, expected_sha256, read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.evaluation.pair_scorer import PairScorer, ScoreJob, assembly_groups
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.stage_recipe import check_protocol
from pipelines.weights.checkpoints import checkpoint_uri, fetch_checkpoint

SHOWN_PAIRS = 12
BATCH = 8
KNOWN_ANSWER_PAIRS = 200


@dataclass(frozen=True)
class EvaluatePlan:
    """An evaluation that is ready to start.

    keep_features: results.parquet also holds the features of distances between distributions (2.5 kB a pair), so that
    their intervals can be had. ema: the moving average of the checkpoint's weights is scored.
    """

    protocol: str
    checkpoint: str
    metadata: CheckpointMetadata
    corpus: str
    snapshot: int
    digest: str
    columns: tuple[str, ...]
    out: str
    pairs: tuple[Pair, ...]
    sampling: SamplingSettings
    seed: int
    without_reference: bool = False
    keep_features: bool = False
    ema: bool = False

    @property
    def weights_sha256(self) -> str:
        """Of the weights that are scored."""
        return expected_sha256(self.metadata, self.checkpoint, self.ema)


@dataclass
class Scores:
    """Name -> number or None, and for each None the reason."""

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    feature_network: str | None = None


def plan_evaluation(
    checkpoint: str,
    corpus: str,
    protocol: str,
    out: str,
    *,
    sampling: SamplingSettings,
    limit: int | None = None,
    seed: int = 0,
    ema: bool = False,
) -> EvaluatePlan:
    """Resolve and check an evaluation before anything starts; the pairing is decided here.

    ema: score the moving average of the checkpoint's weights. Raises SettingsError for an unknown protocol, DataError,
    ModelError or EvalError for what is missing.
    """
    check_protocol(protocol)
    corpus, out = absolute(corpus), absolute(out)
    check_reachable(out)
    checkpoint = checkpoint_uri(absolute(checkpoint))
    metadata = read_metadata(fetch_checkpoint(checkpoint))
    expected_sha256(metadata, checkpoint, ema)
    snapshot = open_snapshot(corpus)
    columns = ("color", *sorted(column for column in snapshot.document["operators"] if column.startswith("sketch_")))
    reader = CorpusReader(corpus, "validation", (), snapshot.number)
    if protocol == "known-answer" and metadata.width != metadata.height:
        raise PipelineError(
            f"known-answer draws square pictures; {checkpoint} was trained at {metadata.width}x{metadata.height}"
        )
    pairs = tuple(_pairs(protocol, reader, seed, limit))
    return EvaluatePlan(
        protocol,
        checkpoint,
        metadata,
        corpus,
        snapshot.number,
        snapshot.digest,
        columns,
        out,
        pairs,
        sampling,
        seed,
        ema=ema,
    )


def evaluate(
    plan: EvaluatePlan,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Run `plan`; returns the document that is also written as scores.json."""
    params = {"protocol": plan.protocol, "pairs": len(plan.pairs), "ema": plan.ema, **asdict(plan.sampling)}
    with (
        ray_session(log_file, address=address),
        lineage.run("evaluation", plan.protocol, plan.out, tracking_uri, params) as run,
    ):
        rows = _run_pairs(plan, progress)
        scores = _score(plan.protocol, rows)
        document = _document(plan, scores)
        _save(plan, rows, document)
        run.log_metrics(scores.values)
        node = lineage.Node(plan.out, "evaluation", f"{plan.protocol} ({len(plan.pairs)} pairs)")
        inputs = [
            lineage.Input("checkpoint", plan.checkpoint),
            lineage.Input("corpus", plan.corpus, plan.snapshot, plan.digest),
        ]
        run.finish(node, inputs)
    return document


def read_results(out: str) -> list[dict[str, Any]]:
    """One row for each pair of a finished evaluation: pair, numbers, and PNG bytes of the pairs that are shown."""
    return pq.read_table(BytesIO(read_bytes(join(out, "results.parquet")))).to_pylist()


def _pairs(protocol: str, reader: CorpusReader, seed: int, limit: int | None) -> Sequence[Pair]:
    if protocol == "known-answer":
        count = limit if limit is not None else KNOWN_ANSWER_PAIRS
        return known_answer(assembly_groups(reader), seed, max(2, count - count % 2))
    if protocol == "random-reference":
        groups = {row["id"]: row["group"] for row in (reader.row(i) for i in range(len(reader)))}
        return random_reference(reader.ids, reader.ids, seed, groups)[:limit]
    make = deformed_reference if protocol == "deformed-reference" else self_reference
    return make(reader.ids, seed)[:limit]


def _run_pairs(plan: EvaluatePlan, progress: ProgressSink) -> list[dict[str, Any]]:
    """Colour and measure all pairs on as many workers as there are CPUs (or GPUs); rows in the order of the pairs."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    batches = [list(range(start, min(start + BATCH, len(plan.pairs)))) for start in range(0, len(plan.pairs), BATCH)]
    count = max(1, min(gpus or int(ray.cluster_resources().get("CPU", 1)), len(batches)))
    threads = max(1, (psutil.cpu_count() or 1) // count)
    job = ScoreJob(
        protocol=plan.protocol,
        checkpoint=plan.checkpoint,
        corpus=plan.corpus,
        snapshot=plan.snapshot,
        columns=plan.columns,
        sampling=plan.sampling,
        threads=threads,
        without_reference=plan.without_reference,
        ema=plan.ema,
    )
    actor = ray.remote(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0)(PairScorer)
    pool = ray.util.ActorPool([actor.remote(job) for _ in range(count)])

    def submit(scorer: Any, numbers: list[int]) -> Any:
        return scorer.__call__.remote([plan.pairs[n] for n in numbers], [n < SHOWN_PAIRS for n in numbers])

    rows: list[dict[str, Any]] = []
    progress(Progress(f"evaluate {plan.protocol}", 0, len(plan.pairs), "pairs", note="loading the model"))
    try:
        for part in pool.map(submit, batches):
            rows += part
            progress(Progress(f"evaluate {plan.protocol}", len(rows), len(plan.pairs), "pairs"))
    except ray.exceptions.RayError as error:
        raise PipelineError(f"evaluation by {plan.protocol} failed: {_last_line(error)}") from error
    return rows


def _last_line(error: BaseException) -> str:
    """What went wrong in a worker, without the stack that Ray puts in front."""
    cause = getattr(error, "cause", None)
    return str(cause).strip().splitlines()[0] if cause else str(error).strip().splitlines()[-1].strip()


def _score(protocol: str, rows: Sequence[dict[str, Any]]) -> Scores:
    if protocol == "random-reference":
        return _frechet_scores(rows)
    if protocol == "known-answer":
        return _known_answer_scores(rows)
    return Scores({name: _mean(row[name] for row in rows) for name in _score_columns(rows)})


def _frechet_scores(rows: Sequence[dict[str, Any]]) -> Scores:
    network = load_efficientnet_lite0()
    made, real = FrechetStatistics(network.dims), FrechetStatistics(network.dims)
    made.update(np.array([row["features"] for row in rows]))
    real.update(np.array([row["real_features"] for row in rows]))
    scores = Scores(feature_network=network.identity)
    try:
        scores.values[network.score_name] = made.distance(real)
    except EvalError as error:
        scores.values[network.score_name] = None
        scores.reasons[network.score_name] = str(error)
    return scores


def _known_answer_scores(rows: Sequence[dict[str, Any]]) -> Scores:
    regions = {name: torch.tensor([row[name] for row in rows]) for name in _score_columns(rows) if "psnr_" in name}
    answer = summarize(torch.tensor([row["nearer"] for row in rows]), regions)
    scores = Scores({"known_answer_share": answer.share})
    scores.values |= {"known_answer_share_lower95": answer.lower, "known_answer_share_upper95": answer.upper}
    scores.values["psnr"] = _mean(row["psnr"] for row in rows)
    for name, value in answer.region_psnr.items():
        scores.values[name] = value
        if value is None:
            scores.reasons[name] = "no scored picture shows this region"
    leaks = [row["layout_leak"] for row in rows if math.isfinite(row["layout_leak"])]
    scores.values["layout_leak"] = _mean(leaks) if leaks else None
    if not leaks:
        scores.reasons["layout_leak"] = "no pair has paper that only one of its references covers"
    return scores


def _score_columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in rows[0] if name.startswith(("psnr", "ms_ssim"))]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _document(plan: EvaluatePlan, scores: Scores) -> dict[str, Any]:
    infinite = {name: "a result equals its truth" for name, value in scores.values.items() if value == math.inf}
    return {
        "protocol": plan.protocol,
        "scores": {name: _finite(value) for name, value in scores.values.items()},
        "reasons": infinite | scores.reasons,
        "samples": len(plan.pairs),
        "feature_network": scores.feature_network,
        "checkpoint": plan.checkpoint,
        "checkpoint_weights": plan.weights_sha256,
        "ema": plan.ema,
        "stage": plan.metadata.stage,
        "corpus": plan.corpus,
        "snapshot": plan.snapshot,
        "corpus_digest": plan.digest,
        "width": plan.metadata.width,
        "height": plan.metadata.height,
        "sampling": asdict(plan.sampling),
        "seed": plan.seed,
        "without_reference": plan.without_reference,
        "image_codec": plan.metadata.codec,
        "image_encoder": plan.metadata.image_encoder,
        "code_version": code_version(),
    }


def _finite(value: float | None) -> float | None:
    """JSON knows neither infinity nor NaN; a perfect PSNR is no number."""
    return value if value is not None and math.isfinite(value) else None


def _save(plan: EvaluatePlan, rows: Sequence[dict[str, Any]], document: dict[str, Any]) -> None:
    write_whole(join(plan.out, "pairs.parquet"), to_parquet(plan.pairs))
    table = [
        {key: value for key, value in (asdict(pair) | row).items() if plan.keep_features or "features" not in key}
        for pair, row in zip(plan.pairs, rows, strict=True)
    ]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(table), buffer)
    write_whole(join(plan.out, "results.parquet"), buffer.getvalue())
    for number, row in enumerate(rows[:SHOWN_PAIRS]):
        for name in ("sketch", "reference", "result", "truth"):
            write_whole(join(plan.out, "pictures", f"{number:02d}-{name}.png"), row[f"{name}_png"])
    write_whole(join(plan.out, "scores.json"), json.dumps(document, indent=2).encode())
