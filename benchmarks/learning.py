"""Does tiny `v1` learn to take colours from an unrelated reference? `python -m benchmarks.learning --out runs/learning`

Trains `v1.noisy` and `v1.refine` at the tiny size on the known-answer pictures (drawings assembled from an artist's
parts; training templates only), then colours drawings of unseen templates after references of other unseen templates.
Reported: the share of results nearer in Lab to the answer for their own reference than to that for another, with its
95 % Wilson bounds; the same with the reference dropped, which must be chance; PSNR by region, both with and without.
The bar: lower bound above 0.6, dropped between 0.45 and 0.55.

With the reference dropped the two results of a couple are drawn with independent noise, so that chance is measured and
not arranged.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from eval.intervals import wilson
from eval.protocols import Pair
from model.settings import SamplingSettings
from pipelines.build import build_corpus
from pipelines.corpus_recipes import CORPUS_RECIPES
from pipelines.evaluate import EvaluatePlan, evaluate, plan_evaluation, read_results
from pipelines.pictures import ASSEMBLED
from pipelines.progress import Progress
from pipelines.ray_session import ray_session
from pipelines.recipes import stage_recipe
from pipelines.train import plan_stage, train_stage

REFINE_SHARE = 1 / 2


def main() -> None:
    """Build, train, score; prints the table and writes learning.json and learning.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/learning")
    parser.add_argument("--images", type=int, default=32_000, help="training images of both stages together")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out = Path(arguments.out)
    log_file, store = out / "engines.log", f"sqlite:///{out / 'mlflow.db'}"
    common: dict[str, Any] = {"log_file": log_file, "progress": _print, "tracking_uri": store}
    with ray_session(log_file, num_cpus=max(arguments.workers + 2, psutil.cpu_count() or 1)):
        corpus = str(out / "corpus")
        build_corpus([ASSEMBLED], corpus, CORPUS_RECIPES["demo"], **common)
        started = time.monotonic()
        refine_images = round(arguments.images * REFINE_SHARE)
        lengths = {"v1.noisy": arguments.images - refine_images, "v1.refine": refine_images}
        parent = None
        for stage, images in lengths.items():
            recipe = replace(stage_recipe(stage, "tiny"), images=images)
            plan = plan_stage(recipe, corpus, str(out / stage), parent, arguments.workers)
            train_stage(plan, **common)
            parent = str(out / stage)
        minutes = (time.monotonic() - started) / 60
        sampling = SamplingSettings(steps=arguments.steps, guidance_scale=arguments.guidance_scale)
        evaluation = plan_evaluation(
            str(parent), corpus, "known-answer", str(out / "score"), sampling=sampling, limit=arguments.pairs
        )
        scored = evaluate(evaluation, **common)
        dropped = evaluate(_without_reference(evaluation, str(out / "dropped")), **common)
    result = _result(arguments, minutes, scored, dropped, read_results(str(out / "dropped")))
    (out / "learning.json").write_text(json.dumps(result, indent=2))
    table = _table(result)
    (out / "learning.md").write_text(table)
    print(table)


def _without_reference(plan: EvaluatePlan, out: str) -> EvaluatePlan:
    """The same pairs with no reference, each with noise of its own."""
    pairs = tuple(
        Pair(pair.sketch_id, pair.reference_id, (pair.seed + 7919 * number) % 2**31, pair.other_reference_id)
        for number, pair in enumerate(plan.pairs)
    )
    return replace(plan, out=out, pairs=pairs, without_reference=True)


def _result(
    arguments: argparse.Namespace,
    minutes: float,
    scored: dict[str, Any],
    dropped: dict[str, Any],
    dropped_rows: list[dict[str, Any]],
) -> dict[str, Any]:
    scores = scored["scores"]
    share = scores["known_answer_share"]
    without = dropped["scores"]["known_answer_share"]
    low, high = wilson(sum(row["nearer"] for row in dropped_rows), len(dropped_rows))
    return {
        "images": arguments.images,
        "training_minutes": round(minutes, 1),
        "workers": arguments.workers,
        "pairs": scored["samples"],
        "share": share,
        "share_bounds": [scores["known_answer_share_lower95"], scores["known_answer_share_upper95"]],
        "dropped_share": without,
        "dropped_bounds": [low, high],
        "psnr": {name: value for name, value in scores.items() if name.startswith("psnr")},
        "psnr_dropped": {name: value for name, value in dropped["scores"].items() if name.startswith("psnr")},
        "bar_met": scores["known_answer_share_lower95"] > 0.6 and 0.45 <= without <= 0.55,
        "sampling": scored["sampling"],
        "code_version": scored["code_version"],
    }


def _table(result: dict[str, Any]) -> str:
    low, high = result["share_bounds"]
    dropped_low, dropped_high = result["dropped_bounds"]
    rows = [
        "| | with the reference | reference dropped |",
        "|---|---|---|",
        f"| share nearer to the own answer ({result['pairs']} pairs) | {result['share']:.3f} ({low:.3f} to {high:.3f})"
        f" | {result['dropped_share']:.3f} ({dropped_low:.3f} to {dropped_high:.3f}) |",
    ]
    for name, value in result["psnr"].items():
        if value is not None:
            region = name.removeprefix("psnr").strip("_") or "whole picture"
            rows.append(f"| PSNR, {region} | {value:.1f} dB | {result['psnr_dropped'][name]:.1f} dB |")
    head = f"{result['images']:,} images in {result['training_minutes']} minutes on {result['workers']} workers"
    return f"{head}; bar {'met' if result['bar_met'] else 'NOT met'}\n\n" + "\n".join(rows) + "\n"


def _print(news: Progress) -> None:
    if news.done >= news.total or news.done % 1600 == 0:
        print(f"{news.stage}: {news.done:,}/{news.total:,} {news.unit} {news.note}", flush=True)


if __name__ == "__main__":
    main()
