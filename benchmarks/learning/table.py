"""The scores of several training arms beside each other, and their differences with paired bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.metrics.intervals import bootstrap, bootstrap_mean, wilson
from eval.metrics.sets.frechet import FRECHET_DISTANCE, FrechetStatistics

SEED = 11
FRECHET_RESAMPLES = 200  # each one two eigen-decompositions of the covariance

# measure -> (protocol, column of the rows of single pairs)
PAIRED = {
    "nearer to the own answer": ("known-answer", "nearer"),
    "PSNR, known answer, dB": ("known-answer", "psnr"),
    "layout leak, Lab": ("known-answer", "layout_leak"),
    "PSNR, deformed reference, dB": ("deformed-reference", "psnr"),
    "MS-SSIM, deformed reference": ("deformed-reference", "ms_ssim"),
}
FRECHET = "Fréchet distance, random reference"


@dataclass(frozen=True)
class Arm:
    """A trained and scored arm: protocol -> {"scores": name -> value, "rows": one for each pair}."""

    name: str
    minutes: float
    protocols: Mapping[str, Mapping[str, Any]]


def compare(arms: Sequence[Arm]) -> dict[str, Any]:
    """Each arm's figures with 95 % intervals, and every later arm less every earlier one on the same pairs."""
    pairs = [(first, second) for index, first in enumerate(arms) for second in arms[index + 1 :]]
    return {
        "arms": {arm.name: _figures(arm) | {"minutes": round(arm.minutes, 1)} for arm in arms},
        "differences": {f"{second.name} less {first.name}": _differences(first, second) for first, second in pairs},
        "bar_met": _bar(arms[-1]),
    }


def _column(arm: Arm, measure: str) -> np.ndarray | None:
    """The values of single pairs, NaN where a pair has none; None where the protocol was not run."""
    protocol, prefix = PAIRED[measure]
    if protocol not in arm.protocols:
        return None
    rows = arm.protocols[protocol]["rows"]
    name = next(name for name in rows[0] if name.startswith(prefix))
    return np.array([row[name] for row in rows], dtype=np.float64)


def _figures(arm: Arm) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for measure in PAIRED:
        values = _column(arm, measure)
        if values is not None:
            present = values[np.isfinite(values)]
            figures[measure] = _figure(float(present.mean()), bootstrap_mean(present, SEED), len(present))
    dropped = arm.protocols["reference dropped"]["rows"]
    right = sum(row["nearer"] for row in dropped)
    figures["nearer, reference dropped"] = _figure(right / len(dropped), wilson(right, len(dropped)), len(dropped))
    if (features := _features(arm)) is not None:
        # Samples drawn with replacement repeat, which lengthens the distance itself: only differences get an interval.
        figures[FRECHET] = _figure(_distance(features, None), None, len(features[0]))
    return figures


def _differences(first: Arm, second: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for measure in PAIRED:
        a, b = _column(first, measure), _column(second, measure)
        if a is not None and b is not None:
            difference = (b - a)[np.isfinite(a) & np.isfinite(b)]
            found[measure] = _figure(float(difference.mean()), bootstrap_mean(difference, SEED), len(difference))
    one, other = _features(first), _features(second)
    if one is not None and other is not None:

        def difference_of(chosen: np.ndarray | None) -> float:
            return _distance(other, chosen) - _distance(one, chosen)

        bounds = bootstrap(difference_of, len(one[0]), SEED, resamples=FRECHET_RESAMPLES)
        found[FRECHET] = _figure(difference_of(None), bounds, len(one[0]))
    return found


def _figure(value: float, bounds: tuple[float, float] | None, count: int) -> dict[str, Any]:
    return {"value": value, "bounds": bounds, "pairs": count}


def _features(arm: Arm) -> tuple[np.ndarray, np.ndarray] | None:
    """(made, real) features (N, D) of results with random references, or None where there are too few."""
    features = arm.protocols.get("random-reference", {}).get("features")
    if not features:
        return None
    made, real = (features[view] for view in FRECHET_DISTANCE.vectors)
    return (made, real) if len(made) > made.shape[1] else None


def _distance(features: tuple[np.ndarray, np.ndarray], chosen: np.ndarray | None) -> float:
    sets = []
    for part in features:
        statistics = FrechetStatistics(part.shape[1])
        statistics.update(part if chosen is None else part[chosen])
        sets.append(statistics)
    return sets[0].distance(sets[1])


def _bar(arm: Arm) -> bool:
    scores = arm.protocols["known-answer"]["scores"]
    dropped = arm.protocols["reference dropped"]["scores"]["known_answer_share"]
    return bool(scores["known_answer_share_lower95"] > 0.6 and 0.45 <= dropped <= 0.55)


def table(result: Mapping[str, Any]) -> str:
    """Both tables as Markdown."""
    asked, arms = result["arguments"], result["arms"]
    head = (
        f"{asked['images']:,} images an arm on {result['rows']['train']:,} training rows, {asked['workers']} workers; "
        f"bar of {list(arms)[-1]}: {'met' if result['bar_met'] else 'NOT met'}"
    )
    parts = [head, _markdown(arms, "arm")]
    if result["differences"]:
        parts.append(_markdown(result["differences"], "difference"))
        parts.append("Intervals: 95 %, over pairs; each arm was trained once.")
    return "\n\n".join(parts) + "\n"


def _markdown(columns: Mapping[str, Mapping[str, Any]], title: str) -> str:
    names = list(columns)
    measures = [name for name in columns[names[0]] if name != "minutes"]
    lines = [f"| {title} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for measure in measures:
        cells = [_cell(columns[name][measure], signed=title == "difference") for name in names]
        pairs = columns[names[0]][measure]["pairs"]
        lines.append(f"| {measure} ({pairs} pairs) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any], signed: bool) -> str:
    shown = [format(number, "+.3f" if signed else ".3f") for number in (figure["value"], *(figure["bounds"] or ()))]
    return shown[0] + (f" ({shown[1]} to {shown[2]})" if figure["bounds"] else "")
