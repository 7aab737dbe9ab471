"""What several results have in common: tables in the papers' form, and one sketch coloured by each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics.metric import SMALL
from eval.metrics.table import METRICS
from eval.protocols.published_figures import PublishedTable, table_of
from eval.protocols.table import PROTOCOLS
from eval.report.page import ReportSheet, SheetRow
from eval.report.tables import ReportTable, TableRow
from pipelines.common.overrides import flatten
from pipelines.evaluation.features import read_results
from pipelines.sweep.leaderboard import Entry, Ranking, differing, labels, rankings, scored, short_names

MOST_MODELS, MOST_PAIRS = 8, 8
ARROWS = {"higher": "↑", "lower": "↓"}
NOTE = (
    "Published figures were measured on the papers' own corpus and weights; they stand beside ours for orientation. "
    "Bounds at 95 % in brackets."
)


def tables(cells: Mapping[str, Mapping[str, Any]]) -> list[ReportTable]:
    """Of finished evaluations (address -> document): a table for each protocol, with what its paper published."""
    found = rankings(cells)
    every = [entry.scored for ranking in found for entry in ranking.entries]
    made, done = list[ReportTable](), set[str]()
    for ranking in found:
        protocol = ranking.what["protocol"]
        published = table_of(protocol)
        title = published.title if published else protocol
        if title in done:
            continue
        done.add(title)
        if published:
            made.append(_published(published, found, every))
        else:
            made += _ours(protocol, [other for other in found if other.what["protocol"] == protocol], every)
    return made


def _ours(protocol: str, found: Sequence[Ranking], every: Sequence[str]) -> list[ReportTable]:
    """A table for each set of pairs that the protocol was scored on."""
    made = []
    for what in dict.fromkeys(map(_said, found)):
        own = [ranking for ranking in found if _said(ranking) == what]
        cells = [dict(zip(labels(ranking.entries, every), map(_cell, ranking.entries), strict=True)) for ranking in own]
        rows = [
            TableRow(label, tuple(column.get(label, "") for column in cells))
            for label in dict.fromkeys(label for column in cells for label in column)
        ]
        columns = tuple(f"{ranking.score} {ARROWS[ranking.better]}" for ranking in own)
        networks = "; ".join(dict.fromkeys(ranking.network for ranking in own if ranking.network))
        made.append(
            ReportTable(f"{protocol}, {what}", columns, tuple(rows), f"Bounds at 95 % in brackets. {networks}".strip())
        )
    return made


def _said(ranking: Ranking) -> str:
    """On what a ranking's scores were measured."""
    what = ranking.what
    styles = ", ".join(what.get("styles") or {"?": 0})
    alone = ", without reference" if what["without_reference"] else ""
    return (
        f"{what['samples']:,} pairs at {what['width']}x{what['height']} ({what.get('resize') or 'cover'}), corpus "
        f"{what['corpus_digest'][:8]}, sketches {styles}{alone}"
    )


def _published(table: PublishedTable, found: Sequence[Ranking], every: Sequence[str]) -> ReportTable:
    """The paper's rows, then ours: a figure stands in a column of its protocol and metric. In what ours was measured
    otherwise than the paper states is part of its name."""
    rows = [
        TableRow(method, tuple(f"{figures[column]:g}" for column in table.columns), published=True)
        for method, figures in table.rows.items()
    ]
    ours: dict[str, dict[str, str]] = {}
    for column, (protocol, score) in table.columns.items():
        for ranking in found:
            if (ranking.what["protocol"], ranking.score.removesuffix(SMALL)) != (protocol, score):
                continue
            other = _deviations(ranking)
            for entry, label in zip(ranking.entries, labels(ranking.entries, every), strict=True):
                if _fits(column, entry):
                    ours.setdefault(label + other, {})[column] = _cell(entry)
    rows += [
        TableRow(label, tuple(figures.get(column, "") for column in table.columns)) for label, figures in ours.items()
    ]
    columns = tuple(f"{column} {ARROWS[METRICS[score].better]}" for column, (_, score) in table.columns.items())
    return ReportTable(table.title, columns, tuple(rows), NOTE)


def _deviations(ranking: Ranking) -> str:
    """In what a ranking's evaluations are not as their published protocol states, " (…)"; empty where they are."""
    what, stated = ranking.what, PROTOCOLS[ranking.what["protocol"]].settings
    assert stated is not None
    size, found = (what["width"], what["height"]), list[str]()
    if stated.pairs is None or what["samples"] < stated.pairs:
        found.append(f"{what['samples']:,} pairs")
    if stated.size is not None and size != stated.size:
        found.append(f"{size[0]}x{size[1]}")
    if what.get("resize") != stated.resize:
        found.append(str(what.get("resize")))
    if what["without_reference"]:
        found.append("without reference")
    if ranking.score.endswith(SMALL):
        found.append("too few pairs")
    return f" ({', '.join(found)})" if found else ""


def _fits(column: str, entry: Entry) -> bool:
    """Whether a score belongs in a column that is of one guidance scale (ColorizeDiffusion Table 1); another system has
    none, and stands in all."""
    return not column.startswith("GS-") or entry.guidance_scale in (None, float(column.removeprefix("GS-")))


def _cell(entry: Entry) -> str:
    bounds = f" [{entry.interval[0]:.4g}, {entry.interval[1]:.4g}]" if entry.interval else ""
    return f"{entry.value:.4g}{bounds}"


def side_by_side(cells: Mapping[str, Mapping[str, Any]]) -> list[ReportSheet]:
    """For each protocol, the pairs that several evaluations kept pictures of: sketch and reference, then each result.

    Evaluations without a reference stand on a sheet of their own, which shows what each model colours by itself.
    """
    found = []
    groups: dict[tuple[str, bool], list[str]] = {}
    for uri, document in cells.items():
        groups.setdefault((document["protocol"], bool(document.get("without_reference"))), []).append(uri)
    names = short_names(scored(document) for document in cells.values())
    for (protocol, alone), uris in groups.items():
        kept = {uri: _kept(uri) for uri in uris}
        seen = [key for own in kept.values() for key in own]
        shared = [key for key in dict.fromkeys(seen) if seen.count(key) > 1][:MOST_PAIRS]
        if not shared:
            continue
        rows = []
        for key in shared:
            first = next(own[key] for own in kept.values() if key in own)
            given = [("sketch", first["sketch_png"])] + ([] if alone else [("reference", first["reference_png"])])
            by = {_name(names, cells[uri], cells, uris): own for uri, own in kept.items() if key in own}
            results = [(name, own[key]["result_png"]) for name, own in by.items()]
            rows.append(SheetRow(key[0][:12], (*given, *results[:MOST_MODELS])))
        what = "without a reference" if alone else "side by side"
        found.append(ReportSheet(f"{protocol}, {what}", tuple(rows)))
    return found


def _kept(uri: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {
        (row["sketch_id"], row["reference_id"], row["seed"]): row for row in read_results(uri) if row.get("result_png")
    }


def _name(
    names: Mapping[str, str],
    document: Mapping[str, Any],
    cells: Mapping[str, Mapping[str, Any]],
    uris: Sequence[str],
) -> str:
    """The model, and the settings of its sampling that not all of these evaluations share."""
    settings = differing(flatten(document["sampling"]), [flatten(cells[uri]["sampling"]) for uri in uris])
    seeds = [f"seed={document['seed']}"] if len({cells[uri]["seed"] for uri in uris}) > 1 else []
    alike = [cells[uri] for uri in uris if scored(cells[uri]) == scored(document)]
    hashes = {other["checkpoint_weights"] for other in alike}
    weights = [f"({document['checkpoint_weights'][:8]})"] if len(hashes) > 1 and not document.get("pictures") else []
    return " ".join([names[scored(document)], *settings, *seeds, *weights])
