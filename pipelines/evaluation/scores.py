"""From the measured pairs of an evaluation to its scores, and the document that says what they are scores of."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from eval.errors import EvalError
from eval.metrics.metric import LOWER, SMALL, UPPER, Collector, Metric, Score
from eval.metrics.sets.frechet import BothSets
from pipelines.common.versions import code_version
from pipelines.evaluation import real_statistics
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.parts import Measured
from pipelines.evaluation.plan import EvaluatePlan


def collect(plan: EvaluatePlan, parts: Iterable[Measured]) -> dict[str, Collector]:
    """Metric -> what it takes of all pairs, from parts of them one after the other."""
    collectors: dict[str, tuple[Metric, Collector]] = {}
    for metric in plan.measured():
        collector = metric.collector()
        if isinstance(collector, BothSets) and (known := plan.real.get(metric.networks[0])):
            collector.take_real(real_statistics.read(known))
        collectors[metric.name] = metric, collector
    for part in parts:
        for metric, collector in collectors.values():
            seen = {view: part.vectors[view] for view in metric.vectors if view in part.vectors}
            collector.add({**part.columns.get(metric.name, {}), **seen})
    return {name: collector for name, (_, collector) in collectors.items()}


def score(plan: EvaluatePlan, collectors: Mapping[str, Collector]) -> list[Score]:
    """The scores of all metrics of a plan; a metric that its pairs cannot be measured by, or that needs more of them,
    is one without a value.

    Raises EvalError where two metrics report a score of one name.
    """
    scores = []
    for metric in plan.measured():
        few = len(plan.pairs) < metric.fewest
        if few and not plan.small_sets:
            reason = f"{len(plan.pairs):,} pairs; {metric.fewest:,} are needed (--small-sets scores them all the same)"
            scores.append(Score(metric.name, None, len(plan.pairs), reason=reason))
            continue
        for item in metric.summarize(collectors[metric.name].whole()):
            scores.append(replace(item, name=item.name + SMALL) if few else item)
    scores += [Score(name, None, 0, reason=reason) for name, reason in plan.not_measured().items()]
    names = Counter(item.name for item in scores)
    if twice := [name for name, count in names.items() if count > 1]:
        raise EvalError(f"two metrics report a score {twice[0]}: {', '.join(plan.metrics)}")
    return scores


def numbers(scores: Sequence[Score]) -> dict[str, float | None]:
    """Scores and their bounds by name."""
    named: dict[str, float | None] = {}
    for item in scores:
        named[item.name] = item.value
        if item.interval:
            named |= {item.name + LOWER: item.interval[0], item.name + UPPER: item.interval[1]}
    return named


def describe(plan: EvaluatePlan, scores: Sequence[Score], styles: Mapping[str, int]) -> dict[str, Any]:
    """The document of scores.json: the scores, the reason for each without a number, and all that decided them.

    styles: of the sketches, and how many of each. scored_pairs: how many of the `samples` have a value that the score
    is made of.
    """
    reasons = {item.name: "a result equals its truth" for item in scores if item.value == math.inf}
    reasons |= {item.name: item.reason for item in scores if item.value is None}
    return {
        "protocol": find_protocol(plan.protocol).name,
        "scores": {name: _finite(value) for name, value in numbers(scores).items()},
        "reasons": reasons,
        "samples": len(plan.pairs),
        "scored_pairs": {item.name: item.pairs for item in scores},
        "feature_network": ", ".join(plan.feature_networks) or None,
        "checkpoint": plan.checkpoint or None,
        "pictures": plan.pictures or None,
        "checkpoint_weights": plan.weights_sha256,
        "ema": plan.ema,
        "stage": plan.metadata.stage if plan.metadata else None,
        "corpus": plan.corpus,
        "snapshot": plan.snapshot,
        "corpus_digest": plan.digest,
        "width": plan.width,
        "height": plan.height,
        "resize": plan.resize,
        "styles": dict(sorted(styles.items())),
        "sampling": asdict(plan.sampling),
        "seed": plan.seed,
        "pairing": plan.settings["pairing"],
        "without_reference": plan.without_reference,
        "image_codec": plan.metadata.codec if plan.metadata else None,
        "image_encoder": plan.metadata.image_encoder if plan.metadata else None,
        "code_version": code_version(),
    }


def _finite(value: float | None) -> float | None:
    """JSON knows neither infinity nor NaN; a perfect PSNR is no number."""
    return value if value is not None and math.isfinite(value) else None
