"""The command `irodori doctor`: what this machine can run, and what is missing."""

from jobs.output import print_result
from pipelines.common.errors import PipelineError

MARKS = {"ok": "ok      ", "missing": "MISSING ", "note": "note    "}


def command() -> None:
    """What this machine can run, what is missing, and the command that mends it."""
    from pipelines.doctor import examine

    findings = examine()
    for finding in findings:
        mend = f"\n         mend: {finding.mend}" if finding.mend else ""
        print_result(f"{MARKS[finding.state]} {finding.what}{mend}")
    if any(finding.state == "missing" for finding in findings):
        raise PipelineError("something that irodori needs is missing; the lines above say how to mend it")
