"""Gathers what trainings, evaluations and sweeps left into one page, and writes its tables beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataprep.documents import read_document
from dataprep.storage.store import exists, join, write_whole
from dataprep.visible import visible
from eval.report.page import Report, ReportScore, ReportSheet, ReportStrip, render_report
from eval.report.tables import as_csv, latex, markdown
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.evaluation.evaluate import SCORES
from pipelines.report.comparison import side_by_side, tables
from pipelines.report.pieces import curve, lineage_steps, scores, sheets, strips
from pipelines.sweep.leaderboard import failures, read_cells, scored, short_names
from pipelines.sweep.run import SWEEP
from pipelines.tracking.outbox import LINEAGE
from pipelines.training.state.history import HISTORY

PAGE, TABLES = "report.html", "tables"
MOST_SCORED = 12  # evaluations whose scores are listed one by one


def write_report(runs: Sequence[str], out: str) -> str:
    """Write `report.html` into `out`, and `tables.md`, `.tex` and `.csv` where there are scores; the page's address.

    Raises PipelineError for an address where nothing finished lies.
    """
    runs, out = [absolute(run) for run in runs], absolute(out)
    cells, trainings = dict[str, dict[str, Any]](), list[str]()
    for run in runs:
        if exists(join(run, SWEEP)):
            cells |= read_cells(run)
        elif exists(join(run, SCORES)):
            cells[run] = read_document(join(run, SCORES), dict[str, Any])
        elif exists(join(run, HISTORY)):
            trainings.append(run)
        else:
            raise PipelineError(
                f"{run}: neither a training nor a finished evaluation or sweep lies here, so there is nothing to report"
            )
    if not cells and not trainings:
        why = "; ".join(f"{label}: {reason}" for run in runs for label, reason in failures(run).items())
        raise PipelineError(f"no cell is scored yet, so there is nothing to report{f' ({why})' if why else ''}")
    names = short_names((*cells, *trainings))
    made = tables(cells)
    report = Report(
        title=_title(cells, trainings, names),
        summary=_summary(cells, trainings),
        sheets=(*side_by_side(cells), *_own_sheets(cells)),
        tables=tuple(made),
        strips=tuple(_strips(trainings, names)),
        scores=tuple(_scores(cells, names)),
        curves=tuple(curve(names[run], run) for run in trainings),
        lineage=tuple(lineage_steps([run for run in runs if exists(join(run, LINEAGE))])),
        commands=tuple(
            (f"the chain of {names[run] if run in names else Path(run).name}", f"irodori lineage {run}") for run in runs
        ),
    )
    page = join(out, PAGE)
    write_whole(page, visible(render_report(report)).encode())
    if made:
        write_whole(join(out, f"{TABLES}.md"), "\n".join(map(markdown, made)).encode())
        write_whole(join(out, f"{TABLES}.tex"), "\n".join(map(latex, made)).encode())
        write_whole(join(out, f"{TABLES}.csv"), as_csv(made).encode())
    return page


def _title(cells: Mapping[str, Any], trainings: Sequence[str], names: Mapping[str, str]) -> str:
    if len(cells) + len(trainings) > 1:
        return "Irodori: a comparison"
    if trainings:
        return f"Irodori: {names[trainings[0]]}"
    (document,) = cells.values()
    what = scored(document)
    return f"Irodori: {short_names([what])[what]} by {document['protocol']}"


def _summary(cells: Mapping[str, Mapping[str, Any]], trainings: Sequence[str]) -> str:
    said = []
    if cells:
        protocols = ", ".join(sorted({document["protocol"] for document in cells.values()}))
        pairs = sum(document["samples"] for document in cells.values())
        said.append(f"{_count(len(cells), 'evaluation')} of {pairs:,} pairs in all, by {protocols}.")
    if trainings:
        said.append(f"{_count(len(trainings), 'training')}: the same pairs drawn again while it went on, and its loss.")
    return " ".join(said)


def _count(number: int, what: str) -> str:
    return f"One {what}" if number == 1 else f"{number} {what}s"


def _own_sheets(cells: Mapping[str, Mapping[str, Any]]) -> list[ReportSheet]:
    """Of one evaluation alone all its sheets; of several they would be one page of thousands of pictures."""
    if len(cells) != 1:
        return []
    ((uri, document),) = cells.items()
    return sheets(uri, document)


def _scores(cells: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> list[ReportScore]:
    if len(cells) > MOST_SCORED:
        return []
    return [
        score
        for uri, document in cells.items()
        for score in scores(document["protocol"] if len(cells) == 1 else names[uri], document)
    ]


def _strips(trainings: Sequence[str], names: Mapping[str, str]) -> list[ReportStrip]:
    return [
        strip
        for run in trainings
        for strip in strips({names[run]: run}, f", {names[run]}" if len(trainings) > 1 else "")
    ]
