"""`irodori doctor`."""

import pytest

from jobs.cli import run
from pipelines.doctor import examine


def test_every_finding_is_a_line_and_what_is_missing_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor"])
    shown = capsys.readouterr()
    findings = examine()
    marks = [line[:8].strip() for line in shown.out.splitlines() if not line.startswith(" ")]
    assert marks == [{"ok": "ok", "missing": "MISSING", "note": "note"}[finding.state] for finding in findings]
    assert shown.out.count("         mend: ") == len([finding for finding in findings if finding.mend])
    missing = any(finding.state == "missing" for finding in findings)
    assert (code, bool(shown.err)) == (int(missing), missing)
