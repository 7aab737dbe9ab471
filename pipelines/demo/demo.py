"""The whole main job on the shipped pictures, small but real: corpus, two training stages, evaluation, one report.

Each step is the same function that its own command runs; the demo only chooses sizes that end within ten minutes on two
CPU cores. Running it again goes on where it stopped.
"""

import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from model.diffusion.sampling_settings import SamplingSettings
from pipelines.common.progress import ProgressSink, silent
from pipelines.common.shipped_pictures import SHIPPED_SOURCES
from pipelines.corpus_build.build import build_corpus
from pipelines.demo.report import program, write_report
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.plan import plan_evaluation
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stages import stage_recipe
from pipelines.training.stage import plan_stage, train_stage
from pipelines.weights.checkpoints import CHECKPOINT

SAMPLING = SamplingSettings(steps=20, guidance_scale=2.0)


@dataclass(frozen=True)
class DemoSizes:
    """How much the demo does; the defaults end within ten minutes on two cores.

    The stages are shorter than the recipes', and of nearly equal length: colours come with the second one. `pairs` are
    how many of each protocol: enough to see a difference and few enough to wait for.
    """

    sources: tuple[str, ...] = SHIPPED_SOURCES
    limit: int | None = None
    workers: int = 2  # that train
    noisy_images: int = 3_000
    refine_images: int = 5_000
    pairs: tuple[tuple[str, int], ...] = (("known-answer", 64), ("deformed-reference", 32), ("random-reference", 16))


def run_demo(
    out: str,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    say: Callable[[str], None] = lambda _: None,
    sizes: DemoSizes = DemoSizes(),
) -> str:
    """Run everything into the local directory `out`; returns the closing words: where to look and how."""
    started = time.monotonic()
    store = f"sqlite:///{os.path.join(out, 'mlflow.db')}"
    corpus, noisy, refine = (os.path.join(out, name) for name in ("corpus", "noisy", "refine"))
    with ray_session(log_file, num_cpus=max(sizes.workers + 2, psutil.cpu_count() or 1)):
        say("1/5  corpus: line art, masks and regions of the shipped pictures")
        report = build_corpus(
            list(sizes.sources),
            corpus,
            CORPUS_RECIPES["demo"],
            limit=sizes.limit,
            progress=progress,
            log_file=log_file,
            tracking_uri=store,
        )
        say(report.summary())
        say("2/5  training v1.noisy, then v1.refine from it (ColorizeDiffusion, tiny size)")
        stages = (("v1.noisy", noisy, None, sizes.noisy_images), ("v1.refine", refine, noisy, sizes.refine_images))
        for stage, output, parent, images in stages:
            recipe = stage_recipe(stage, "tiny")
            plan = plan_stage(recipe.changed(images=images), corpus, output, parent, sizes.workers)
            train_stage(plan, log_file=log_file, progress=progress, tracking_uri=store)
        say("3/5  colorizing and scoring validation sketches")
        documents = {}
        for protocol, pairs in sizes.pairs:
            output = os.path.join(out, "evaluation", protocol)
            evaluation = plan_evaluation(refine, corpus, protocol, output, sampling=SAMPLING, limit=pairs)
            documents[protocol] = evaluate(evaluation, log_file=log_file, progress=progress, tracking_uri=store)
    say("4/5  lineage and report")
    page = write_report(out, documents, {"v1.noisy": noisy, "v1.refine": refine}, corpus)
    say(f"5/5  done in {(time.monotonic() - started) / 60:.1f} minutes")
    return _closing_words(out, page, corpus, refine, store, documents)


def _closing_words(
    out: str, page: str, corpus: str, refine: str, store: str, documents: dict[str, dict[str, Any]]
) -> str:
    known = documents["known-answer"]["scores"]
    irodori, mlflow = program("irodori"), program("mlflow")
    score = os.path.join(out, "evaluation", "known-answer")
    quoted = {name: shlex.quote(value) for name, value in (("page", page), ("corpus", corpus), ("refine", refine))}
    return "\n".join(
        [
            f"Results in the colours of their own reference: {known['known_answer_share']:.0%} (chance is 50 %).",
            "Where to look:",
            f"  report      {page}",
            f"              open it:  xdg-open {quoted['page']}",
            f"  corpus      {corpus}",
            f"              open it:  {irodori} corpus info {quoted['corpus']}",
            f"  checkpoint  {os.path.join(refine, CHECKPOINT)}",
            f"              use it:   {irodori} colorize --checkpoint {quoted['refine']}"
            f" --guidance-scale {SAMPLING.guidance_scale:g}"
            " --sketch SKETCH.png --reference PICTURE.png --out RESULT.png",
            f"  MLflow      {store}",
            f"              open it:  {mlflow} ui --backend-store-uri {shlex.quote(store)}",
            f"  lineage     from the score back to the pictures:  {irodori} lineage {shlex.quote(score)}",
        ]
    )
