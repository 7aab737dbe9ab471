"""`irodori corpus browse`."""

import json
from pathlib import Path

import pytest

from jobs.cli import run


def test_browse_says_where_its_page_is(corpus: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "browse", corpus, "--samples", "3", "--out", "page.html", "--json"]) == 0
    size = (desk / "page.html").stat().st_size
    page = {"page": "page.html", "snapshot": 1, "rows": 16, "samples": 3, "bytes": size}
    assert json.loads(capsys.readouterr().out) == page
