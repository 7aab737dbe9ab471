"""What several results have in common: tables in the papers' form, and one sketch coloured by each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.protocols.published_figures import PublishedTable, table_of
from eval.report.page import ReportSheet, SheetRow
from eval.report.tables import ReportTable, TableRow
from pipelines.evaluation.features import read_results
from pipelines.sweep.leaderboard import Ranking, rankings, short_names

MOST_MODELS, MOST_PAIRS = 8, 8
NOTE = (
    "Published figures were measured on the papers' own corpus and weights; they stand beside ours for orientation. "
    "Bounds at 95 % in brackets."
)


def tables(cells: Mapping[str, Mapping[str, Any]]) -> list[ReportTable]:
    """Of finished evaluations (address -> document): a table for each protocol, with what its paper published."""
    found = rankings(cells)
    names = short_names(entry.scored for ranking in found for entry in ranking.entries)
    made, done = list[ReportTable](), set[str]()
    for ranking in found:
        protocol = ranking.what["protocol"]
        published = table_of(protocol)
        title = published.title if published else protocol
        if title in done:
            continue
        done.add(title)
        if published:
            made.append(_published(published, found, names))
        else:
            own = [other for other in found if other.what["protocol"] == protocol]
            made += _ours(protocol, own, names)
    return made


def _ours(protocol: str, found: Sequence[Ranking], names: Mapping[str, str]) -> list[ReportTable]:
    """A table for each set of pairs that the protocol was scored on."""
    made = []
    for what in [dict(key) for key in dict.fromkeys(tuple(sorted(_said(ranking).items())) for ranking in found)]:
        own = [ranking for ranking in found if _said(ranking) == what]
        labels = dict.fromkeys(_label(entry, names) for ranking in own for entry in ranking.entries)
        rows = [
            TableRow(
                label,
                tuple(_cell([entry for entry in ranking.entries if _label(entry, names) == label]) for ranking in own),
            )
            for label in labels
        ]
        title = f"{protocol}, " + ", ".join(f"{name} {value}" for name, value in what.items())
        columns = tuple(f"{ranking.score} {'↑' if ranking.better == 'higher' else '↓'}" for ranking in own)
        made.append(ReportTable(title, columns, tuple(rows), "Bounds at 95 % in brackets."))
    return made


def _said(ranking: Ranking) -> dict[str, str]:
    what = ranking.what
    alone = " without reference" if what["without_reference"] else ""
    return {
        "pairs": f"{what['samples']:,}",
        "size": f"{what['width']}x{what['height']}",
        "corpus": what["corpus_digest"][:8],
        "sketches": ", ".join(what.get("styles") or {"?": 0}) + alone,
    }


def _published(table: PublishedTable, found: Sequence[Ranking], names: Mapping[str, str]) -> ReportTable:
    """The paper's rows, then ours: a figure stands in a column of its protocol and metric."""
    rows = [
        TableRow(method, tuple(f"{figures[column]:g}" for column in table.columns), published=True)
        for method, figures in table.rows.items()
    ]
    protocols = {protocol for protocol, _ in table.columns.values()}
    own = [ranking for ranking in found if ranking.what["protocol"] in protocols]
    labels = dict.fromkeys(_label(entry, names) for ranking in own for entry in ranking.entries)
    for label in labels:
        cells = []
        for column, (protocol, metric) in table.columns.items():
            entries = [
                entry
                for ranking in own
                if (ranking.what["protocol"], ranking.score) == (protocol, metric)
                for entry in ranking.entries
                if _label(entry, names) == label and _fits(column, entry)
            ]
            cells.append(_cell(entries))
        rows.append(TableRow(label, tuple(cells)))
    return ReportTable(table.title, tuple(table.columns), tuple(rows), NOTE)


def _fits(column: str, entry: Any) -> bool:
    """Whether a score belongs in a column that is of one guidance scale (ColorizeDiffusion Table 1)."""
    return not column.startswith("GS-") or entry.guidance_scale == float(column.removeprefix("GS-"))


def _label(entry: Any, names: Mapping[str, str]) -> str:
    return f"{names[entry.scored]} {entry.settings}".strip()


def _cell(entries: Sequence[Any]) -> str:
    if not entries:
        return ""
    entry = entries[0]
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
    names = short_names(_scored(document) for document in cells.values())
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


def _scored(document: Mapping[str, Any]) -> str:
    return str(document.get("pictures") or document["checkpoint"])


def _name(
    names: Mapping[str, str],
    document: Mapping[str, Any],
    cells: Mapping[str, Mapping[str, Any]],
    uris: Sequence[str],
) -> str:
    """The model, and the settings of its sampling that not all of these evaluations share."""
    sampling = document["sampling"]
    others = [cells[uri]["sampling"] for uri in uris]
    differing = [name for name in sampling if any(other.get(name) != sampling[name] for other in others)]
    return " ".join([names[_scored(document)], *(f"{name}={sampling[name]}" for name in differing)])
