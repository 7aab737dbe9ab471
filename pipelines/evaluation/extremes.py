"""The best and the worst results by each metric, with small pictures, so that a person sees what a score stands for.

Which they are is known at the end alone. But the best of all are among the best of each part, so a part keeps the small
pictures of its own best and worst, and at the end those of all stay: `extremes.parquet`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.storage.store import exists, join, read_bytes, write_whole
from eval.metrics.metric import Metric
from eval.metrics.table import metric_of
from pipelines.evaluation import parts
from pipelines.evaluation.scoring.pair_scorer import THUMBNAIL, PairResult

EACH = 3  # of the best, and of the worst
EXTREMES = "extremes.parquet"
PICTURES = ("_png", THUMBNAIL)  # endings of columns


def columns_of(names: Iterable[str], metrics: Sequence[Metric]) -> dict[str, Metric]:
    """Column -> metric, of the metrics that measure one number of a pair, whose mean is their score."""
    numbers = [name for name in names if not name.endswith(PICTURES)]
    found = {metric.name: [name for name in numbers if metric_of(name, metrics) is metric] for metric in metrics}
    return {found[metric.name][0]: metric for metric in metrics if len(found[metric.name]) == 1 and not metric.vectors}


def ends(values: Sequence[float]) -> tuple[list[int], list[int]]:
    """Places of the EACH lowest values, the lowest first, and of the EACH highest, the highest first; NaN is neither.

    Equal values stand in their order, so that a part and the whole choose alike.
    """
    numbers = np.asarray(values, float)
    present = np.flatnonzero(~np.isnan(numbers))
    lowest = present[np.argsort(numbers[present], kind="stable")][:EACH]
    highest = present[np.argsort(-numbers[present], kind="stable")][:EACH]
    return lowest.tolist(), highest.tolist()


def with_thumbnails_of_extremes(results: Sequence[PairResult], metrics: Sequence[Metric]) -> list[PairResult]:
    """The results of a part, of which only the best and the worst by some metric keep their small pictures."""
    kept = set[int]()
    names = [name for columns in (results[0].measured.values() if results else ()) for name in columns]
    for column, metric in columns_of(names, metrics).items():
        values = [result.measured[metric.name].get(column, float("nan")) for result in results]
        kept.update(*ends(values))
    empty = dict.fromkeys(results[0].thumbnails if results else ())
    return [
        result if place in kept else replace(result, thumbnails=empty if kept else {})
        for place, result in enumerate(results)
    ]


def write_extremes(out: str, results: pa.Table, metrics: Sequence[Metric], sizes: Sequence[range]) -> None:
    """Write the best and the worst of all with their pictures; sizes: the pairs of each part, which are still there."""
    rows = list[dict[str, Any]]()
    for column, metric in columns_of(results.column_names, metrics).items():
        lowest, highest = ends(results[column].to_pylist())
        best, worst = (highest, lowest) if metric.better == "higher" else (lowest, highest)
        for end, places in (("best", best), ("worst", worst)):
            for rank, place in enumerate(places, 1):
                number = next(number for number, pairs in enumerate(sizes) if place in pairs)
                row = {"metric": metric.name, "column": column, "end": end, "rank": rank}
                rows.append(row | {"number": place, "part": number})
    if not rows:
        return
    pictures: dict[int, dict[str, Any]] = {}
    for part in sorted({row["part"] for row in rows}):
        table = parts.read_part(parts.part_uri(out, part))
        wanted = [row["number"] for row in rows if row["part"] == part]
        names = [name for name in table.column_names if name.endswith(THUMBNAIL)]
        for place in wanted:
            pictures[place] = table.select(names).slice(place - sizes[part].start, 1).to_pylist()[0]
    facts = results.select([name for name in results.column_names if not name.endswith("_png")])
    whole = [
        {**{name: row[name] for name in ("metric", "column", "end", "rank", "number")}, **pictures[row["number"]]}
        | facts.slice(row["number"], 1).to_pylist()[0]
        for row in rows
    ]
    data = BytesIO()
    pq.write_table(pa.Table.from_pylist(whole), data)
    write_whole(join(out, EXTREMES), data.getvalue())


def read_extremes(out: str) -> list[dict[str, Any]]:
    """One row for each: metric and its column, end ("best" or "worst"), rank from 1, number of the pair, its row and
    its pictures.

    Nothing for an evaluation that has none.
    """
    uri = join(out, EXTREMES)
    return pq.read_table(BytesIO(read_bytes(uri))).to_pylist() if exists(uri) else []
