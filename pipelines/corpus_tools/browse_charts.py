"""The charts of a browse page: how sizes, aspects, buckets, tags, ratings, scores and groups are spread over rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from markupsafe import Markup

from dataprep.corpus_tools.survey import Survey
from dataprep.samples.buckets import fill
from eval.report.bars import Bar, bar_chart, histogram
from eval.report.charts import nice_ticks

TOP_TAGS = 40
TAIL = (1, 2, 5, 10, 50, 100, 1_000, 10_000, 100_000)  # tags by how many pictures have them: from this to the next
GROUP_SIZES = (1, 2, 3, 4, 5, 9, 17, 33, 65, 257)
SCORE_BARS = 24
ASPECTS = {-8: "1:4", -4: "1:2", -2: "5:7", 0: "1:1", 2: "7:5", 4: "2:1", 8: "4:1"}  # quarter octaves


@dataclass(frozen=True)
class Chart:
    """`tall` charts take two lines; `whole` ones count the whole snapshot, whatever the others count."""

    title: str
    note: str
    svg: Markup
    tall: bool = False
    whole: bool = False


def charts_of(seen: Survey, buckets: Mapping[tuple[str, str], int], recipe: Mapping[str, Any]) -> list[Chart]:
    """All charts for which there is something to count."""
    width, height = (seen.rows[name].to_numpy().astype(np.float64) for name in ("width", "height"))
    charts = [*_sizes(width, height), _buckets(buckets, recipe)]
    charts += [chart for chart in (_ratings(seen.rows), _scores(seen.rows), _groups(seen.rows)) if chart]
    return [*charts, *_tags(seen.tags)]


def _sizes(width: npt.NDArray[np.float64], height: npt.NDArray[np.float64]) -> list[Chart]:
    if not len(width):
        return []
    megapixels = width * height / 1e6
    half_octaves = np.floor(2 * np.log2(megapixels)).astype(int)
    steps = range(int(half_octaves.min()), int(half_octaves.max()) + 1)
    bars = [
        Bar(
            f"{2 ** (step / 2):.2g}" if step % 2 == 0 or len(steps) <= 8 else "",
            int((half_octaves == step).sum()),
            f"{2 ** (step / 2):.2g} to {2 ** ((step + 1) / 2):.2g} megapixels",
        )
        for step in steps
    ]
    note = (
        f"median {np.median(megapixels):.2f}, mean {megapixels.mean():.2f}, largest {megapixels.max():.1f} megapixels"
    )
    quarters = np.rint(4 * np.log2(width / height)).astype(int)
    edge = max(4, int(np.abs(quarters).max()))
    aspects = [
        Bar(ASPECTS.get(step, ""), int((quarters == step).sum()), f"width about {2 ** (step / 4):.2f} times height")
        for step in range(-edge, edge + 1)
    ]
    tall, wide = np.mean(quarters < 0), np.mean(quarters > 0)
    return [
        Chart("Size", note, histogram(bars, f"Pictures by size: {note}", "megapixels (each second bar doubles)")),
        Chart(
            "Aspect",
            f"{tall:.0%} upright, {1 - tall - wide:.0%} about square, {wide:.0%} wide",
            histogram(aspects, "Pictures by aspect ratio", "width : height"),
        ),
    ]


def _buckets(buckets: Mapping[tuple[str, str], int], recipe: Mapping[str, Any]) -> Chart:
    """Over all training rows: the bucket stands in the index."""
    batch = int(recipe.get("batch_rows", 256))
    sizes = list(recipe.get("buckets", {}).get("sizes", ())) or sorted({bucket for _, bucket in buckets})
    filled = {found.bucket: found for found in fill({size: buckets.get(("train", size), 0) for size in sizes}, batch)}
    bars = [
        Bar(size, filled[size].rows, "under-filled" if filled[size].under_filled else "", filled[size].under_filled)
        for size in sizes
    ]
    few = sum(bar.marked for bar in bars)
    note = f"{few} of {len(bars)} have too few training pictures for one batch of {batch}"
    note = note if few else f"each has at least one batch of {batch} training pictures"
    return Chart("Buckets", note, bar_chart(bars, f"Training pictures of each size: {note}"), whole=True)


def _ratings(rows: pa.Table) -> Chart | None:
    counts = {row["rating"]: row["count_all"] for row in _counted(rows, "rating")}
    if set(counts) <= {None}:
        return None
    bars = [Bar("no rating" if name is None else name, count) for name, count in counts.items()]
    return Chart("Ratings", "as the source says them", bar_chart(bars, "Pictures by rating"))


def _scores(rows: pa.Table) -> Chart | None:
    scores = rows["score"].drop_null().to_numpy().astype(np.float64)
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return None
    low, high = np.percentile(scores, [0.5, 99.5])
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    edges = np.linspace(low, high, SCORE_BARS + 1)
    counts = np.histogram(np.clip(scores, low, high), edges)[0]
    labels = {
        min(int((tick - low) / (high - low) * SCORE_BARS), SCORE_BARS - 1): tick for tick in nice_ticks(low, high)
    }
    bars = [
        Bar(f"{labels[at]:g}" if at in labels else "", int(count), f"{edges[at]:.4g} to {edges[at + 1]:.4g}")
        for at, count in enumerate(counts)
    ]
    note = (
        f"median {np.median(scores):.4g}, from {scores.min():.4g} to {scores.max():.4g}; the ends stand for all beyond"
    )
    return Chart("Scores", note, histogram(bars, f"Pictures by score: {note}", "score"))


def _groups(rows: pa.Table) -> Chart | None:
    sizes = np.array([row["count_all"] for row in _counted(rows, "group") if row["group"] is not None])
    if not sizes.size:
        return None
    share = sizes.sum() / len(rows)
    note = f"{share:.0%} of the pictures belong to {sizes.size:,} groups; the largest holds {sizes.max():,}"
    bars = [Bar(label, count, f"groups of {label}") for label, count in _ranges(sizes, GROUP_SIZES)]
    return Chart("Groups", note, histogram(bars, f"Groups by size: {note}", "pictures of one group"))


def _tags(tags: pa.Table) -> list[Chart]:
    if not len(tags):
        return []
    top = [Bar(row["tag"], row["count"]) for row in tags.slice(0, TOP_TAGS).to_pylist()]
    most = top[0].value
    columns = [
        Chart(
            f"Tags {first + 1} to {first + len(part)}",
            "pictures with the tag",
            bar_chart(part, "Tags", most),
            tall=True,
        )
        for first in (0, TOP_TAGS // 2)
        if (part := top[first : first + TOP_TAGS // 2])
    ]
    counts = tags["count"].to_numpy()
    tail = [Bar(label, count, f"tags of {label} pictures") for label, count in _ranges(counts, TAIL)]
    note = f"{len(counts):,} different tags, {int((counts == 1).sum()):,} of them on one picture only"
    return [
        *columns,
        Chart("The long tail", note, histogram(tail, f"Tags by their pictures: {note}", "pictures with the tag")),
    ]


def _counted(rows: pa.Table, name: str) -> list[dict[str, Any]]:
    """Values of a column with their counts, most frequent first."""
    counts = rows.group_by(name).aggregate([([], "count_all")])
    return list(counts.sort_by([("count_all", "descending"), (name, "ascending")]).to_pylist())


def _ranges(values: npt.NDArray[np.integer], starts: tuple[int, ...]) -> list[tuple[str, int]]:
    """How many values lie from each start to the one before the next; ranges above the largest value are left out."""
    shown = []
    for low, high in zip(starts, (*starts[1:], None), strict=True):
        inside = values >= low if high is None else (values >= low) & (values < high)
        label = f"{low:,}+" if high is None else f"{low:,}" if high == low + 1 else f"{low:,}-{high - 1:,}"
        if low <= values.max():
            shown.append((label, int(inside.sum())))
    return shown
