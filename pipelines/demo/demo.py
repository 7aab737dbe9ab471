"""The whole main job on the shipped pictures, small but real: corpus, two training stages, evaluation, one report.

Training goes on from the weights that ship. Each step is the same function that its own command runs; the demo only
chooses sizes that end within ten minutes on two CPU cores. Running it again goes on where it stopped.
"""

import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.common.progress import ProgressSink, silent
from pipelines.common.shipped_pictures import SHIPPED_SOURCES
from pipelines.corpus_build.build import build_corpus
from pipelines.demo.change import change_of
from pipelines.demo.gallery import colored, corpus_jobs, real_jobs
from pipelines.demo.report import different_sketches, program, write_report
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.features import read_results
from pipelines.evaluation.plan import plan_evaluation
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stages import stage_recipe
from pipelines.training.stage import plan_stage, train_stage
from pipelines.weights.checkpoints import CHECKPOINT, STARTER, absolute_checkpoint, metadata_at


@dataclass(frozen=True)
class DemoSizes:
    """How much the demo does; the defaults end within ten minutes on two cores.

    The stages are shorter than the recipes', at their rate, which falls over the second half as theirs does. `pairs`
    are how many of each protocol: enough to see a difference and few enough to wait for.
    """

    sources: tuple[str, ...] = SHIPPED_SOURCES
    limit: int | None = None
    workers: int = 2  # that train
    side: int = 192  # of training pictures, in pixels
    palette_images: int = 1_600
    distill_images: int = 800
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
    corpus, palette, distilled = (os.path.join(out, name) for name in ("corpus", "palette", "distilled"))
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

        say("2/5  training goes on from the weights that ship: v1.palette, then v1.distill from it (small size)")
        starter = absolute_checkpoint(STARTER)
        stages = (
            ("v1.palette", palette, starter, sizes.palette_images),
            ("v1.distill", distilled, palette, sizes.distill_images),
        )
        for stage, output, parent, images in stages:
            recipe = stage_recipe(stage, "small")
            recipe = recipe.changed(images=images, decay_images=images // 2, width=sizes.side, height=sizes.side)
            plan = plan_stage(recipe, corpus, output, parent, sizes.workers)
            train_stage(plan, log_file=log_file, progress=progress, tracking_uri=store)
            say(f"{stage}: {images:,} images; the weights moved by {change_of(parent, output)}")

        say("3/5  colorizing and scoring validation sketches, before (the weights that ship) and after")
        documents = {}
        known, compared = sizes.pairs[0]
        scored = [(f"{STARTER}-{known}", starter, known, compared)]
        scored += [(protocol, distilled, protocol, pairs) for protocol, pairs in sizes.pairs]
        for name, checkpoint, protocol, pairs in scored:
            sampling = metadata_at(checkpoint).own_sampling()
            output = os.path.join(out, "evaluation", name)
            evaluation = plan_evaluation(checkpoint, corpus, protocol, output, sampling=sampling, limit=pairs)
            documents[name] = evaluate(evaluation, log_file=log_file, progress=progress, tracking_uri=store)

    say("4/5  pictures at the artist's size, lineage and report")
    rows = different_sketches(read_results(os.path.join(out, "evaluation", known)))
    jobs = corpus_jobs(rows, corpus, os.path.join(out, "pictures")) + real_jobs(os.path.join(out, "drawings"))
    shown = colored(jobs, distilled)
    trained = {stage: output for stage, output, _, _ in stages}
    page = write_report(out, documents, trained, corpus, rows, shown[: len(rows)], shown[len(rows) :])
    say(f"5/5  done in {(time.monotonic() - started) / 60:.1f} minutes")
    return _closing_words(out, page, corpus, distilled, store, documents)


def _closing_words(
    out: str, page: str, corpus: str, checkpoint: str, store: str, documents: dict[str, dict[str, Any]]
) -> str:
    before, after = documents["starter-known-answer"], documents["known-answer"]
    made = after["scores"]
    irodori, mlflow = program("irodori"), program("mlflow")
    score = os.path.join(out, "evaluation", "known-answer")
    quoted = {name: shlex.quote(value) for name, value in (("page", page), ("corpus", corpus), ("made", checkpoint))}
    return "\n".join(
        [
            f"Results in the colours of their own reference: {made['known_answer_share']:.0%} (chance is 50 %).",
            f"Closeness to the right answer: {made['psnr']:.1f} dB in {after['sampling']['steps']} steps; the weights "
            f"that ship, in {before['sampling']['steps']} guided steps: {before['scores']['psnr']:.1f} dB.",
            "Where to look:",
            f"  report      {page}",
            f"              open it:  xdg-open {quoted['page']}",
            f"  corpus      {corpus}",
            f"              open it:  {irodori} corpus info {quoted['corpus']}",
            f"  checkpoint  {os.path.join(checkpoint, CHECKPOINT)}",
            f"              use it:   {irodori} colorize --checkpoint {quoted['made']}"
            " --sketch SKETCH.png --reference PICTURE.png --out RESULT.png",
            f"  MLflow      {store}",
            f"              open it:  {mlflow} ui --backend-store-uri {shlex.quote(store)}",
            f"  lineage     from the score back to the pictures:  {irodori} lineage {shlex.quote(score)}",
        ]
    )
