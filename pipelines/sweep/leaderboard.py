"""The leaderboard of a sweep: what can be compared, side by side, and nothing else.

Scores are in one ranking only where protocol, pictures, size, style of the sketches and the network that the score
reads are the same. Seeds are repetitions: values are means over them. Bounds at 95 %: where a score is a mean over
pairs, by bootstrap over sketches, whose values are first averaged over the seeds; of distances and shares from the
bounds of each seed, as of independent draws. Fewer than three seeds are marked.
"""

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from dataprep.documents import read_document
from dataprep.storage.store import exists, join, list_folder
from eval.metrics.intervals import bootstrap_mean
from eval.metrics.metric import bounds_of, score_names
from eval.metrics.table import METRICS, metric_of
from eval.protocols.user_pairs import USER_PAIRS
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import flatten
from pipelines.evaluation.evaluate import SCORES
from pipelines.evaluation.features import read_numbers
from pipelines.sweep.recipe import LEAST_SEEDS
from pipelines.sweep.run import CELLS, SWEEP
from pipelines.weights.checkpoints import BY_NAME

SEED = 0  # of the resampling
WIDEST = 80  # columns of a terminal
# Of a document, what scores must have in common to be compared.
SAME = ("protocol", "corpus_digest", "samples", "width", "height", "resize", "styles", "without_reference")


@dataclass(frozen=True)
class Entry:
    """One row: what was scored, its value over the seeds, bounds, and the outputs it is made of, one for each seed."""

    scored: str
    settings: str
    value: float
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    outputs: tuple[str, ...]
    weights: str = ""
    guidance_scale: float | None = None


@dataclass(frozen=True)
class Ranking:
    """One score, of all that can be compared by it; the best first."""

    score: str
    title: str
    unit: str
    better: str
    what: Mapping[str, Any]
    network: str
    entries: tuple[Entry, ...] = field(default_factory=tuple)


def read_cells(out: str) -> dict[str, dict[str, Any]]:
    """Address -> document of every cell that is scored. Raises PipelineError where no sweep is."""
    if not exists(join(out, SWEEP)):
        raise PipelineError(f"{out} holds no sweep")
    folders, _ = list_folder(join(out, CELLS))
    listed = read_document(join(out, SWEEP), dict[str, Any])["cells"]
    names = {cell["key"]: cell["checkpoint"] for cell in listed if cell["pictures"]}
    found = {}
    for key in folders:
        scores = join(out, CELLS, key, SCORES)
        if exists(scores):
            found[join(out, CELLS, key)] = read_document(scores, dict[str, Any]) | {"system": names.get(key)}
    return found


def failures(out: str) -> dict[str, str]:
    """Label -> why of the cells that failed in the last call of a sweep."""
    found: dict[str, str] = read_document(join(out, SWEEP), dict[str, Any])["failed"]
    return found


def rankings(cells: Mapping[str, Mapping[str, Any]]) -> list[Ranking]:
    """Of the documents of evaluations, every score that at least one of them has."""
    groups: dict[str, dict[str, list[str]]] = {}
    for uri, document in cells.items():
        for score in score_names(document["scores"]):
            if document["scores"][score] is not None:
                group = groups.setdefault(json.dumps([_common(document), score, _network(document, score)]), {})
                group.setdefault(json.dumps(_row(document)), []).append(uri)
    numbers = cache(read_numbers)  # the same evaluation is in a ranking of each of its scores
    found = []
    for key, rows in groups.items():
        what, score, network = json.loads(key)
        metric = metric_of(score)
        settings = [_settings(cells[uris[0]]) for uris in rows.values()]
        entries = [
            _entry(score, {uri: cells[uri] for uri in uris}, " ".join(differing(own, settings)), numbers)
            for uris, own in zip(rows.values(), settings, strict=True)
        ]
        better = metric.better if metric else "higher"
        entries.sort(key=lambda entry: entry.value, reverse=better == "higher")
        title = metric.title_of(score) if metric else score
        found.append(Ranking(score, title, metric.unit if metric else "", better, what, network, tuple(entries)))
    order = list(METRICS)
    return sorted(found, key=lambda ranking: (ranking.what["protocol"], _place(ranking.score, order), ranking.score))


def _place(score: str, order: Sequence[str]) -> int:
    metric = metric_of(score)
    return order.index(metric.name) if metric else len(order)


def _common(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document.get(name) for name in SAME}


def _network(document: Mapping[str, Any], score: str) -> str:
    """The identities of the networks that the score reads."""
    metric, named = metric_of(score), (document.get("feature_network") or "").split(", ")
    networks = metric.networks if metric else ()
    return ", ".join(identity for identity in named if identity.partition("@")[0] in networks)


def _row(document: Mapping[str, Any]) -> list[Any]:
    """What is compared: weights, or another system's pictures, and how they were sampled, but for the seed."""
    return [scored(document), _weights(document), _settings(document)]


def _weights(document: Mapping[str, Any]) -> str:
    """Their hash; empty of another system's pictures, of which each seed has its own."""
    return "" if document.get("pictures") else str(document["checkpoint_weights"])


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    sampling = {} if document.get("pictures") else document["sampling"]
    pairs = {"pairing": document.get("pairing")} if document["protocol"] == USER_PAIRS.name else {}
    return flatten({"ema": document["ema"], **sampling, **pairs})


def scored(document: Mapping[str, Any]) -> str:
    """What an evaluation scored: the address of a checkpoint, or another system's name or folder."""
    return str(document.get("system") or document.get("pictures") or document["checkpoint"])


def differing(own: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of flat settings those that not all share, "name=value"."""
    return [f"{name}={value}" for name, value in own.items() if any(other.get(name, value) != value for other in every)]


def _entry(
    score: str, cells: Mapping[str, Mapping[str, Any]], settings: str, numbers: Callable[[str], pa.Table]
) -> Entry:
    """cells: address -> document of what is one row; numbers: address -> what was measured of each pair."""
    # A seed that was scored twice, with other metrics, is one repetition.
    by_seed = {document["seed"]: uri for uri, document in cells.items()}
    outputs = [by_seed[seed] for seed in sorted(by_seed)]
    documents = [cells[uri] for uri in outputs]
    first = documents[0]
    return Entry(
        scored=scored(first),
        settings=settings,
        value=float(np.mean([float(document["scores"][score]) for document in documents])),
        interval=_interval(score, documents, map(numbers, outputs)),
        seeds=tuple(sorted(by_seed)),
        outputs=tuple(outputs),
        weights=_weights(first),
        guidance_scale=None if first.get("pictures") else first["sampling"].get("guidance_scale"),
    )


def _interval(
    score: str, documents: Sequence[Mapping[str, Any]], measured: Iterable[pa.Table]
) -> tuple[float, float] | None:
    by_sketch: dict[str, list[float]] = {}
    for table in measured:
        if score in table.column_names:
            for sketch, value in zip(table["sketch_id"].to_pylist(), table[score].to_pylist(), strict=True):
                if value is not None:
                    by_sketch.setdefault(sketch, []).append(value)
    means = [float(np.nanmean(values)) for values in by_sketch.values() if np.isfinite(values).any()]
    if len(means) > 1 and np.isfinite(means).all():
        return bootstrap_mean(means, SEED)
    bounds = [found for document in documents if (found := bounds_of(document["scores"], score))]
    if len(bounds) < len(documents):
        return None
    values = np.array([document["scores"][score] for document in documents], float)
    lower, upper = np.array(bounds, float).T
    reach = [np.sqrt(((side - values) ** 2).sum()) / len(values) for side in (lower, upper)]
    return float(values.mean() - reach[0]), float(values.mean() + reach[1])


def document(found: Sequence[Ranking], failed: Mapping[str, str]) -> dict[str, Any]:
    """The leaderboard for scripts."""
    return {
        "rankings": [vars(ranking) | {"entries": [vars(entry) for entry in ranking.entries]} for ranking in found],
        "failed": dict(failed),
    }


def text(found: Sequence[Ranking], failed: Mapping[str, str]) -> str:
    """The leaderboard for a terminal of 80 columns."""
    lines, before = list[str](), ""
    for ranking in found:
        what = ranking.what
        head = f"{what['protocol']}, {what['samples']:,} pairs at {what['width']}x{what['height']}, {what['resize']}, "
        head += f"sketches {', '.join(what['styles'] or {'?': 0})}, corpus {what['corpus_digest'][:8]}"
        if head != before:
            lines += ["", *_wrapped(head, 2)] if lines else _wrapped(head, 2)
            before = head
        unit = f", {ranking.unit}" if ranking.unit else ""
        lines += _wrapped(f"  {ranking.title} ({ranking.score}{unit}; {ranking.better} is better)", 6)
        lines += _wrapped(f"      by {ranking.network}", 9) if ranking.network else []
        lines += _rows(ranking)
    for label, reason in failed.items():
        lines += _wrapped(f"not scored: {label}: {reason}", 4)
    return "\n".join(lines) if lines else "nothing is scored yet"


def _rows(ranking: Ranking) -> list[str]:
    cells = [
        (
            f"{entry.value:.4g}",
            " to ".join(f"{bound:.4g}" for bound in entry.interval) if entry.interval else "",
            label + _few(entry.seeds),
        )
        for entry, label in zip(ranking.entries, labels(ranking.entries), strict=True)
    ]
    widths = [max(len(cell[place]) for cell in cells) for place in range(2)]
    indent = 4 + widths[0] + 2 + widths[1] + 2
    rows = [f"    {value:>{widths[0]}}  {bounds:<{widths[1]}}  {name}" for value, bounds, name in cells]
    return [line for row in rows for line in _wrapped(row, min(indent, WIDEST // 2))]


def labels(entries: Sequence[Entry], all_scored: Iterable[str] = ()) -> list[str]:
    """What each entry is called: what was scored, the settings that differ, and of weights that are called alike the
    beginning of their hash. all_scored: names are as short as they can be beside these."""
    names = short_names([*(entry.scored for entry in entries), *all_scored])
    plain = [f"{names[entry.scored]} {entry.settings}".strip() for entry in entries]
    return [
        f"{label} ({entry.weights[:8]})" if plain.count(label) > 1 and entry.weights else label
        for entry, label in zip(entries, plain, strict=True)
    ]


def _wrapped(line: str, indent: int) -> list[str]:
    """The line, or where it is wider than a terminal several; a word that is wider stays whole."""
    beginning = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line.strip(),
        WIDEST,
        initial_indent=beginning,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _few(seeds: Sequence[int]) -> str:
    return "" if len(seeds) >= LEAST_SEEDS else f" ({len(seeds)} seed{'s' if len(seeds) > 1 else ''} only)"


def short_names(addresses: Iterable[str]) -> dict[str, str]:
    """Addresses by what tells them apart: without what all begin with, and without `/checkpoint`; weights that ship by
    their names, and names as they are."""
    shipped = {str(path): name for name, path in BY_NAME.items()}
    every = list(dict.fromkeys(addresses))
    unique = [address for address in every if address not in shipped and "/" in address]
    parts = {address: address.removesuffix("/checkpoint").split("/") for address in unique}
    shared = 0
    while len(unique) > 1 and all(len(own) > shared + 1 for own in parts.values()):
        if len({own[shared] for own in parts.values()}) > 1:
            break
        shared += 1
    short = {address: "/".join(own[shared:] if len(unique) > 1 else own[-2:]) for address, own in parts.items()}
    return {address: shipped.get(address) or short.get(address, address) for address in every}
