"""Tables in the papers' form: what is published is marked, whatever characters names have."""

import csv
from io import StringIO

from eval.report.tables import ReportTable, TableRow, as_csv, latex, markdown

TABLE = ReportTable(
    "Table 1: FID & more",
    ("GS-3", "50%"),
    (TableRow("IP-Adapter|x", ("25.8", ""), published=True), TableRow("runs/v1_a", ("7.1 [6, 8]", "6.9"))),
    "Others' corpus.",
)


def test_markdown_marks_what_is_published_and_escapes_pipes() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[2:6] == [
        "|  | GS-3 | 50% |",
        "|---|---|---|",
        "| IP-Adapter\\|x (published) | 25.8 |  |",
        "| runs/v1_a | 7.1 [6, 8] | 6.9 |",
    ]
    assert "Others' corpus." in lines


def test_latex_escapes_its_own_characters() -> None:
    text = latex(TABLE)
    assert r"\caption{Table 1: FID \& more}" in text
    assert r" & GS-3 & 50\% \\" in text
    assert r"\textit{IP-Adapter|x (published)} & 25.8 &  \\" in text
    assert r"runs/v1\_a & 7.1 [6, 8] & 6.9 \\" in text
    assert r"\begin{tabular}{lrr}" in text


def test_csv_has_a_line_for_each_figure() -> None:
    rows = list(csv.DictReader(StringIO(as_csv([TABLE]))))
    assert len(rows) == 4
    assert rows[0] == {
        "table": "Table 1: FID & more",
        "method": "IP-Adapter|x",
        "column": "GS-3",
        "figure": "25.8",
        "source": "published",
    }
    assert {row["source"] for row in rows[2:]} == {"ours"}
