"""What an evaluation says to a person: the scores first, under names that explain themselves, then what decided them.

Made of the document that is saved as scores.json, so an earlier one reads the same.
"""

from collections.abc import Mapping
from typing import Any

from eval.metrics.metric import Metric, bounds_of, score_names
from eval.metrics.table import metric_of

# What stands above, or is said in words.
SCORES = ("protocol", "scores", "reasons", "samples", "scored_pairs")


def scores_text(document: Mapping[str, Any]) -> str:
    """The scores as a table of at most 80 columns: name, value, bounds at 95 %, the exact name as `--json` has it."""
    scores = {name: document["scores"][name] for name in score_names(document["scores"])}
    rows = [_row(name, document) for name, value in scores.items() if value is not None]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [f"{document['protocol']}, {document['samples']:,} pairs"]
    for title, value, bounds, name in rows:
        between = f"  {bounds:<{widths[2]}}" if widths[2] else ""
        lines.append(f"  {title:<{widths[0]}}  {value:>{widths[1]}}{between}  {name}")
    missing = {name: document["reasons"].get(name, "no value") for name, value in scores.items() if value is None}
    if missing:
        lines.append("  not scored:")
        lines += [f"    {name}: {reason}" for name, reason in missing.items()]
    return "\n".join(lines)


def settings_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of the document: what was scored, and all that decided the scores."""
    return {name: value for name, value in document.items() if name not in SCORES}


def _row(name: str, document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    scores, metric = document["scores"], metric_of(name)
    bounds = " to ".join(map(_number, bounds_of(scores, name) or ()))
    title = name if metric is None else metric.title_of(name)
    return title, f"{_number(scores[name])}{_unit(metric)}", bounds, name


def _number(value: float) -> str:
    """With four digits that count: 0.500, 10.94, 123.4, 1234."""
    size = abs(value)
    return f"{value:.{3 if size < 1 else 2 if size < 100 else 1 if size < 1000 else 0}f}"


def _unit(metric: Metric | None) -> str:
    return f" {metric.unit}" if metric is not None and metric.unit else ""
