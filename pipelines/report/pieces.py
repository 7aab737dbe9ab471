"""Parts of a page: scores, contact sheets, strips of a training, its loss, and the chain of its inputs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dataprep.storage.store import exists, join, list_files, read_bytes
from eval.metrics.metric import Metric, bounds_of, score_names
from eval.metrics.table import METRICS, metric_of
from eval.report.page import (
    LineageStep,
    LossCurve,
    ReportScore,
    ReportSheet,
    ReportStrip,
    SheetRow,
    StripFrame,
)
from pipelines import lineage
from pipelines.evaluation.extremes import read_extremes
from pipelines.evaluation.features import read_results
from pipelines.evaluation.scoring.pair_scorer import HEAT_MAP
from pipelines.training.stage import read_history

SHOWN = ("sketch", "reference", "result", "truth")
_TYPES = ("figure, figure", "figure, other", "other, figure", "other, other")


# ---- scores --------------------------------------------------------------------------------------------------------


def scores(evaluation: str, document: Mapping[str, Any], names: Collection[str] | None = None) -> list[ReportScore]:
    """One row for each score of an evaluation, or of those named; bounds belong to the score they bound."""
    own = [name for name in score_names(document["scores"]) if names is None or name in names]
    return [_score(name, metric_of(name), evaluation, document) for name in own]


def _score(name: str, metric: Metric | None, evaluation: str, document: Mapping[str, Any]) -> ReportScore:
    values = document["scores"]
    return ReportScore(
        name=name,
        value=values[name],
        meaning=metric.meaning_of(name) if metric else "",
        unit=metric.unit if metric else "",
        reason=document["reasons"].get(name, ""),
        samples=document["samples"],
        protocol=evaluation,
        feature_network=(document.get("feature_network") or "") if metric and metric.networks else "",
        interval=bounds_of(values, name),
    )


# ---- contact sheets ------------------------------------------------------------------------------------------------


def sheets(out: str, document: Mapping[str, Any]) -> list[ReportSheet]:
    """The best and the worst of an evaluation by each metric, then the pairs whose pictures were kept, by what sketch
    and reference show."""
    found = []
    rows = read_extremes(out)
    for metric in dict.fromkeys(row["metric"] for row in rows):
        for end in ("best", "worst"):
            own = [row for row in rows if (row["metric"], row["end"]) == (metric, end)]
            known = METRICS.get(metric)
            title = known.title_of(known.scores) if known else metric
            found.append(
                ReportSheet(
                    title=f"{end.capitalize()} by {title}",
                    note=known.meaning if known else "",
                    rows=tuple(_row(row, "_jpg", [row["column"]]) for row in own),
                )
            )
    shown = [row for row in read_results(out) if row.get("result_png")]
    columns = [name for name in document["scores"] if shown and isinstance(shown[0].get(name), float)]
    types = dict.fromkeys(row.get("pair_type") or "" for row in shown)
    for kind in sorted(types, key=lambda kind: _TYPES.index(kind) if kind in _TYPES else len(_TYPES)):
        own = [row for row in shown if (row.get("pair_type") or "") == kind]
        found.append(ReportSheet(title=_type(kind), rows=tuple(_row(row, "_png", columns) for row in own)))
    return found


def _type(kind: str) -> str:
    if kind not in _TYPES:
        return "Pairs in their order"
    sketch, _, reference = kind.partition(", ")
    what = {"figure": "a figure", "other": "no figure"}
    return f"Sketch of {what[sketch]}, reference with {what[reference]}"


def _row(row: Mapping[str, Any], ending: str, columns: Iterable[str]) -> SheetRow:
    pictures = [(name, row[name + ending]) for name in SHOWN if row.get(name + ending)]
    maps = [name for name in row if name.endswith(f"{HEAT_MAP}{ending}") and row[name]]
    pictures += [(f"where: {name.removesuffix(HEAT_MAP + ending)}", row[name]) for name in maps]
    numbers = tuple((name, f"{row[name]:.4g}") for name in columns if isinstance(row.get(name), float))
    return SheetRow(row["sketch_id"][:12], tuple(pictures), numbers)


# ---- trainings -----------------------------------------------------------------------------------------------------


def curve(name: str, output: str) -> LossCurve:
    """The loss of a stage."""
    records = [(record["images_seen"], record["loss"]) for record in read_history(output) if "loss" in record]
    return LossCurve(name, tuple(_smoothed(records)))


def _smoothed(points: list[tuple[int, float]], window: int = 16) -> list[tuple[int, float]]:
    """Means of `window` steps: the loss of one step says more about its timesteps than about the model."""
    chunks = [points[start : start + window] for start in range(0, len(points), window)]
    return [(chunk[-1][0], sum(loss for _, loss in chunk) / len(chunk)) for chunk in chunks if chunk]


def strips(stages: Mapping[str, str], where: str = "") -> list[ReportStrip]:
    """Each fixed pair through all stages (name -> output), one after the other; where: said behind their numbers."""
    first = next(iter(stages.values()))
    found = []
    number = 0
    while exists(join(first, "samples", f"{number}-sketch.png")):
        samples = join(first, "samples")
        frames = [frame for stage, output in stages.items() for frame in _frames(stage, output, number)]
        found.append(
            ReportStrip(
                title=f"Fixed pair {number + 1}{where}",
                sketch=read_bytes(join(samples, f"{number}-sketch.png")),
                reference=read_bytes(join(samples, f"{number}-reference.png")),
                frames=tuple(frames),
            )
        )
        number += 1
    return found


def _frames(stage: str, output: str, number: int) -> list[StripFrame]:
    names = {Path(entry.uri).stem: entry.uri for entry in list_files(join(output, "samples"))}
    seen = sorted(int(name.split("-")[1]) for name in names if name.split("-")[0] == str(number) and name[-1].isdigit())
    return [StripFrame(images, read_bytes(names[f"{number}-{images:09d}"]), stage) for images in seen]


# ---- where it comes from -------------------------------------------------------------------------------------------


def lineage_steps(outputs: Sequence[str]) -> list[LineageStep]:
    """The chains of all outputs, each link once."""
    chain = lineage.EMPTY
    for out in outputs:
        chain = chain.joined(lineage.find_chain(out))
    return [LineageStep(node.kind, node.name, (("where", node.id),)) for node in chain.nodes]
