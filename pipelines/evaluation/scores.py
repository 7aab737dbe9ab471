"""From the measured pairs of an evaluation to its scores, and the document that says what they are scores of."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.errors import EvalError
from eval.metrics.features import feature_network
from eval.metrics.metric import LOWER, UPPER, Columns, Score
from pipelines.common.versions import code_version
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.plan import EvaluatePlan


def score(plan: EvaluatePlan, parts: Iterable[Mapping[str, Columns]]) -> list[Score]:
    """The scores of all metrics of a plan; a metric that its pairs cannot be measured by is one without a value.

    parts: metric -> its columns, of some pairs after the other. Raises EvalError where two metrics report a score of
    one name.
    """
    metrics = plan.measured()
    collectors = {metric.name: metric.collector() for metric in metrics}
    for part in parts:
        for name, collector in collectors.items():
            collector.add(part[name])
    scores = [item for metric in metrics for item in metric.summarize(collectors[metric.name].whole())]
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


def describe(plan: EvaluatePlan, scores: Sequence[Score]) -> dict[str, Any]:
    """The document of scores.json: the scores, the reason for each without a number, and all that decided them.

    scored_pairs: how many of the `samples` have a value that the score is made of.
    """
    reasons = {item.name: "a result equals its truth" for item in scores if item.value == math.inf}
    reasons |= {item.name: item.reason for item in scores if item.value is None}
    networks = dict.fromkeys(metric.features for metric in plan.measured() if metric.features)
    return {
        "protocol": find_protocol(plan.protocol).name,
        "scores": {name: _finite(value) for name, value in numbers(scores).items()},
        "reasons": reasons,
        "samples": len(plan.pairs),
        "scored_pairs": {item.name: item.pairs for item in scores},
        "feature_network": ", ".join(feature_network(name).identity for name in networks) or None,
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
