"""The driver of an evaluation of made-up pairs: workers write parts of random values through the engine."""

import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row
from benchmarks.peak_memory import peak_mib
from dataprep.storage.store import join, write_whole
from eval.metrics.sets.frechet import FRECHET_DISTANCE
from eval.protocols.pairing import Pair, to_parquet
from model.checkpoint import read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.evaluation.evaluate import measure_parts, score_parts
from pipelines.evaluation.parts import part_uri, write_part
from pipelines.evaluation.plan import EvaluatePlan
from pipelines.evaluation.scoring.pair_scorer import PairResult
from pipelines.evaluation.tasks import PAIRING
from pipelines.execution.ray_data import Task
from pipelines.execution.ray_session import ray_session
from pipelines.weights.checkpoints import absolute_checkpoint, fetch_checkpoint

METRICS = ("psnr", "ms_ssim", FRECHET_DISTANCE.name)
DIMS = 320


def driver(count: int, out: str) -> Row:
    """Peak MiB of this process, seconds, and the scores."""
    plan = made_up_plan(count, out)
    write_whole(join(out, PAIRING), to_parquet(plan.pairs))
    started = time.monotonic()
    with ray_session(Path(out) / "engine.log", num_cpus=2):
        measure_parts(plan, work=lambda plan, threads, device: partial(made_up, out=out))
        scores = {score.name: score.value for score in score_parts(plan)[0]}
    return {"peak MiB": peak_mib(), "seconds": time.monotonic() - started, "PSNR": scores["psnr"]}


def made_up_plan(count: int, out: str) -> EvaluatePlan:
    """An evaluation of so many pairs that no corpus has."""
    checkpoint = absolute_checkpoint("starter")
    metadata = read_metadata(fetch_checkpoint(checkpoint))
    return EvaluatePlan(
        protocol="deformed-reference",
        metrics=METRICS,
        checkpoint=checkpoint,
        metadata=metadata,
        width=metadata.width,
        height=metadata.height,
        corpus="none",
        snapshot=1,
        digest="none",
        columns=(),
        out=out,
        pairs=tuple(_pairs(0, count)),
        sampling=SamplingSettings(),
        seed=0,
    )


def made_up(task: Task, out: str) -> Task:
    """Write the parts of a task, with random values that follow from their number."""
    for number, start, stop in task["parts"]:
        made = np.random.default_rng(number)
        results = [_result(made) for _ in range(start, stop)]
        write_part(part_uri(out, number), _pairs(start, stop), results)
    return {"pairs": task["pairs"]}


def _pairs(start: int, stop: int) -> list[Pair]:
    return [Pair(f"{place:064x}", f"{place:064x}", place) for place in range(start, stop)]


def _result(made: np.random.Generator) -> PairResult:
    vectors = {view: made.normal(size=DIMS).astype(np.float32) for view in FRECHET_DISTANCE.vectors}
    values = {"psnr": {"psnr": made.normal(15, 3)}, "ms_ssim": {"ms_ssim": made.uniform()}}
    return PairResult({**values, FRECHET_DISTANCE.name: {}}, vectors=vectors)
