"""What makes a starter clean: trainings that differ in one thing, at equal images, from nothing, on the same pairs.

Each arm is `v1.palette` of the small size, shorter and at a smaller side. Every arm is coloured in the same few steps
without guidance, whose results are the network's own guess. The same command again goes on where it stopped.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.__main__ import print_news
from eval.metrics.intervals import bootstrap_mean
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.evaluation.plan import plan_evaluation
from pipelines.evaluation.scoring.pair_scorer import PairScorer
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.stage import plan_stage, train_stage

SEED = 11
BATCH = 8
BASE = "base"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {},
    "sketches blanked at the border": {"sketch_crop_max": 0.15},
    "rate held": {"decay_images": 0},
    "min-SNR, gamma 5": {"min_snr_gamma": 5.0},
    "batches of 16": {"batch_size": 16},
    "batches of 4": {"batch_size": 4, "micro_batch": 4},
    "Stable Diffusion's noise": {"noise_schedule": "stable-diffusion"},
    "references of the own picture": {"palette_references": 0.0},
    "192 pixels a side": {"width": 192, "height": 192},
    "256 pixels a side": {"width": 256, "height": 256},
}
SAMPLING = SamplingSettings(sampler="ddim", spacing="trailing", steps=4, guidance_scale=1.0)


def arms(names: Sequence[str], corpus: str, out: Path, images: int, pairs: int) -> str:
    """Train those that are not trained, score them all, and give the table; the figures are in `out`/arms.json."""
    out.mkdir(parents=True, exist_ok=True)
    found = {name: _arm(name, corpus, out / name.replace(" ", "-"), images, pairs) for name in names}
    (out / "arms.json").write_text(json.dumps(found, indent=2) + "\n")
    return table(found)


def arm_recipe(name: str, images: int) -> StageRecipe:
    """What the arm is trained by."""
    changes = {"width": 128, "height": 128, "decay_images": images // 2, "ema_decay": 0.99, "micro_batch": BATCH}
    return stage_recipe("v1.palette", "small").changed(**{**changes, "images": images, **ARMS[name]})


def _arm(name: str, corpus: str, out: Path, images: int, pairs: int) -> dict[str, Any]:
    """Of both kinds of weights the columns of each pair; read back where the arm has been scored on as many."""
    plan = plan_stage(arm_recipe(name, images), corpus, str(out), None, workers=1)  # refuses another length's folder
    figures = out / f"figures-{pairs}.json"
    if figures.exists():
        return dict(json.loads(figures.read_text()))
    with ray_session(out.with_suffix(".log"), num_cpus=3):
        train_stage(
            plan,
            log_file=out.with_suffix(".log"),
            progress=print_news,
            tracking_uri=f"sqlite:///{out.with_suffix('.db')}",
        )
    kinds = {"moving average": True, "weights": False}
    result = {kind: _scores(str(out), corpus, str(out / "score"), pairs, ema) for kind, ema in kinds.items()}
    figures.write_text(json.dumps(result))
    return result


def _scores(checkpoint: str, corpus: str, out: str, count: int, ema: bool) -> dict[str, list[float]]:
    """Column -> its value for each pair."""
    plan = plan_evaluation(checkpoint, corpus, "known-answer", out, sampling=SAMPLING, limit=count, ema=ema)
    scorer = PairScorer(plan)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(plan.pairs), BATCH):
        batch = plan.pairs[start : start + BATCH]
        rows += [result.row for result in scorer(batch, [False] * len(batch))]
    return {column: [float(row[column]) for row in rows] for column in ("psnr", "told_psnr", "nearer")}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: of each arm the mean PSNR, and what it is above the first's on the same pairs, with 95 % intervals."""
    first = next(iter(found))
    lines = [
        f"| arm | known answer: PSNR, dB | above {first}, dB | 95 % bounds | nearer | without the moving average, dB |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for name, figures in found.items():
        average, plain = figures["moving average"], figures["weights"]
        above = np.subtract(average["psnr"], found[first]["moving average"]["psnr"])
        low, high = bootstrap_mean(above, SEED)
        cells = [f"{above.mean():+.2f}", f"{low:+.2f} to {high:+.2f}"] if name != first else ["", ""]
        shown = [f"{np.mean(average['psnr']):.2f}", *cells, f"{np.mean(average['nearer']):.2f}"]
        lines.append(f"| {name} | {' | '.join(shown)} | {np.mean(plain['psnr']):.2f} |")
    return "\n".join([*lines, "", f"{len(found[first]['weights']['psnr'])} pairs; each arm was trained once."])
