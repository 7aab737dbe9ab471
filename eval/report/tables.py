"""Tables in the form of the papers: on the page, as Markdown, LaTeX and CSV; published figures are marked.

A row is a method, a column a score. Figures of a paper stand beside ours only where protocol and metric have the same
name, and say that they are published.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

PUBLISHED = "published"


@dataclass(frozen=True)
class TableRow:
    """label: the method; cells: a text for each column, empty where there is no figure; published: of a paper."""

    label: str
    cells: tuple[str, ...]
    published: bool = False


@dataclass(frozen=True)
class ReportTable:
    """title and note: what is compared, and what differs."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    note: str = ""


def markdown(table: ReportTable) -> str:
    """With a pipe in a text escaped."""
    lines = [f"**{table.title}**", "", _line(("", *table.columns)), "|---" * (len(table.columns) + 1) + "|"]
    lines += [_line((_marked(row), *row.cells)) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def latex(table: ReportTable) -> str:
    """A table of booktabs; published rows are in italics."""
    columns = " & ".join(map(_tex, ("", *table.columns)))
    body = [
        " & ".join((rf"\textit{{{_tex(_marked(row))}}}" if row.published else _tex(row.label), *map(_tex, row.cells)))
        for row in table.rows
    ]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_tex(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf"{columns} \\",
        r"\midrule",
        *(rf"{line} \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def as_csv(tables: Sequence[ReportTable]) -> str:
    """A line for each figure: table, method, column, figure, ours or published."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["table", "method", "column", "figure", "source"])
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                lines.writerow([table.title, row.label, column, cell, PUBLISHED if row.published else "ours"])
    return text.getvalue()


def _marked(row: TableRow) -> str:
    return f"{row.label} ({PUBLISHED})" if row.published else row.label


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
