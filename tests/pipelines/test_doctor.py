"""The doctor says what is wrong with this machine and the command that mends it, and never falls ill itself."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import doctor
from pipelines.doctor import Finding, examine

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a package of this name and version look installed, by the files that an installer writes."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, version: str) -> None:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    return write


def test_every_finding_has_a_known_state_and_what_is_missing_says_how_to_mend_it() -> None:
    findings = examine()
    assert {finding.state for finding in findings} <= {"ok", "missing", "note"}
    assert [finding for finding in findings if finding.state == "missing" and not finding.mend] == []


def test_this_environment_has_what_irodori_needs() -> None:
    texts = [finding.what for finding in examine() if finding.state == "ok"]
    assert any("packages within their ranges" in text for text in texts)
    assert any("tiny codec" in text for text in texts)


@pytest.mark.parametrize(
    ("requirement", "version", "problem"),
    [
        ("made-up==1.2.0", "1.2.0", None),
        ("made-up==1.2.0", "1.2.0+cpu", None),
        ("made-up[data,train]==1.2", "1.2.0", None),
        ("made-up>=1", "1.2.0", None),
        ("made-up", "0.1rc1", None),
        ("made-up==1.2.0", "1.3.0", "made-up is 1.3.0, not ==1.2.0"),
        ("made-up==1.2.0; python_version < '3'", "1.3.0", None),
        ('made-up==1.2.0; extra == "test"', "1.3.0", None),
    ],
)
def test_a_requirement_is_met_as_pip_meets_it(
    install: Install, requirement: str, version: str, problem: str | None
) -> None:
    install("made_up", version)
    found = doctor._problem(requirement)
    assert (found is None) if problem is None else (found is not None and problem in found[1])


def test_a_package_that_is_not_there_is_named_with_the_command_that_installs_it(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["no-such-thing==3.1"])
    (finding,) = doctor._packages()
    assert finding == Finding("missing", "package no-such-thing is not installed", "pip install 'no-such-thing==3.1'")


def test_shipped_files_that_are_gone_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ASSETS", tmp_path)
    (finding,) = doctor._shipped()
    assert finding.state == "missing"
    assert "tiny_codec.safetensors" in finding.what
    assert "git checkout" in finding.mend


def test_an_object_store_is_tried_where_a_bucket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "IRODORI_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    assert doctor._object_store().state == "note"
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert "set IRODORI_BUCKET" in doctor._object_store().what
    monkeypatch.setenv("IRODORI_BUCKET", "pictures")
    finding = doctor._object_store()
    assert (finding.state, "does not answer" in finding.what) == ("missing", True)
    assert "AWS_ENDPOINT_URL" in finding.mend


def test_it_runs_without_torch() -> None:
    """What a broken installation lacks first is the largest package."""
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        "sys.modules['torch'] = None\n"
        "from pipelines.doctor import examine\n"
        "print([f.what for f in examine()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no torch" in done.stdout, done.stderr
