"""How well do figure and ground keep to their own colours? `python -m benchmarks.separation`

Known answers: each sketch meets an assembled drawing whose right colours on it can be drawn exactly, for the figure
and for the ground apart (protocol `known-answer`; the masks are exact). Of each region: how far the result is from the
right colours (mean distance in CIE Lab, 1976), and how often it is nearer to the answer for its own reference than to
that for another. A colour that leaks from one region into the other is far from the right one there.

An arm is a checkpoint and a mode: `runs/split=full`, `starter`. All arms colour the same pairs with the same seeds;
beside each stands what it is better than the first by, with paired bootstrap intervals. Several checkpoints of one
method (other training seeds) are named with a `+` between them, and each pair's figure is then their mean.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from eval.metrics.color import lab_distance
from eval.metrics.intervals import bootstrap_mean
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.picture_settings import sampling_settings
from pipelines.common.overrides import parse_assignments
from pipelines.evaluation.plan import plan_evaluation
from pipelines.evaluation.scoring.pair_scorer import PairScorer, ReadyPair
from pipelines.weights.checkpoints import absolute_checkpoint, metadata_at

SEED, BATCH, THREADS = 11, 8, 1
REGIONS = ("figure", "ground")
Figures = dict[str, list[float]]  # column -> its value for each pair


def main() -> None:
    """Score the arms and print the table; figures of single pairs go to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+", metavar="CHECKPOINT[+CHECKPOINT...][=MODE]")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of sampling, in every arm")
    arguments = parser.parse_args()
    changes = parse_assignments(arguments.set)
    found = {arm: arm_figures(arm, arguments.corpus, arguments.pairs, changes) for arm in arguments.arms}
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


def arm_figures(arm: str, corpus: str, pairs: int, changes: Mapping[str, Any]) -> Figures:
    """The figures of an arm, the mean over its checkpoints."""
    checkpoints, _, mode = arm.partition("=")
    each = [_figures(checkpoint, mode, corpus, pairs, changes) for checkpoint in checkpoints.split("+")]
    return {column: np.mean([figures[column] for figures in each], axis=0).tolist() for column in each[0]}


def _figures(checkpoint: str, mode: str, corpus: str, pairs: int, changes: Mapping[str, Any]) -> Figures:
    own = metadata_at(absolute_checkpoint(checkpoint)).own_sampling()
    sampling: SamplingSettings = sampling_settings({**changes, **({"mode": mode} if mode else {})}, own)
    plan = plan_evaluation(checkpoint, corpus, "known-answer", "unused", sampling=sampling, limit=pairs)
    scorer = PairScorer(replace(plan, metrics=()), threads=THREADS)
    columns: Figures = {}
    for start in range(0, len(plan.pairs), BATCH):
        batch = plan.pairs[start : start + BATCH]
        ready = [scorer.reader.prepare(pair) for pair in batch]
        for item, result in zip(ready, scorer.color(ready, [pair.seed for pair in batch]), strict=True):
            for column, value in measured(item, result).items():
                columns.setdefault(column, []).append(value)
    return columns


def measured(item: ReadyPair, result: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Of one pair: each region's distance from its right colours, and whether it is nearer to those than to the other.

    Only what both references tell counts, so that no arm is scored on what it had to guess.
    """
    ours, truth, other = (_unit(picture) for picture in (result, item.given["truth"], item.given["other_truth"]))
    ground, told = (torch.from_numpy(np.asarray(item.given[name]))[None] for name in ("paper", "determined"))
    values: dict[str, float] = {}
    for region, where in zip(REGIONS, (told & ~ground, told & ground), strict=True):
        # NaN of a region that one of the references does not tell: nothing is known of it.
        own, from_other = (float(lab_distance(ours, right, where)) for right in (truth, other))
        values |= {f"{region} distance": own, f"{region} nearer": nan if isnan(own) else float(own < from_other)}
    return values


def _unit(picture: Any) -> torch.Tensor:
    """uint8 (H, W, 3) as (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)[None]


def table(found: Mapping[str, Figures]) -> str:
    """Markdown: of each arm the means, and how much less its distances are than the first arm's, with 95 % bounds."""
    first = next(iter(found.values()))
    columns = list(first)
    lines = [
        f"| arm | {' | '.join((*columns, *(f'{region}: less than the first, 95 % bounds' for region in REGIONS)))} |",
        "|---|" + "---:|" * len(columns) + "---|" * len(REGIONS),
    ]
    for arm, figures in found.items():
        cells = [f"{np.nanmean(figures[column]):.3f}" for column in columns]
        for region in REGIONS:
            less = np.subtract(first[f"{region} distance"], figures[f"{region} distance"])
            less = less[~np.isnan(less)]
            low, high = bootstrap_mean(less, SEED)
            cells.append("" if figures is first else f"{less.mean():+.2f} ({low:+.2f} to {high:+.2f})")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{len(first[columns[0]])} pairs."])


if __name__ == "__main__":
    main()
