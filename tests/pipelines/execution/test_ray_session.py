"""A session is quiet, leaves a running Ray alone, and says within seconds when a cluster is not there."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pipelines.common.errors import PipelineError
from pipelines.execution import ray_session as sessions
from pipelines.execution.ray_session import ray_session, short_folder

ROOT = Path(__file__).parents[3]


def test_a_cluster_that_does_not_answer_is_said_within_seconds(tmp_path: Path) -> None:
    # In a process of its own: a Ray that other tests started here would be used as it is.
    program = """
import time
from pipelines.common.errors import PipelineError
from pipelines.execution.ray_session import ray_session
started = time.monotonic()
try:
    with ray_session("log", address="127.0.0.1:1"):
        pass
except PipelineError as error:
    print(error, "|", time.monotonic() - started)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    message, seconds = done.stdout.rsplit("|", 1)
    assert "cluster at 127.0.0.1:1 does not answer" in message
    assert float(seconds) < 6


@pytest.mark.ray
def test_a_ray_that_runs_is_used_and_left_running(ray_engine: None, tmp_path: Path) -> None:
    import ray

    with ray_session(tmp_path / "log", num_cpus=7):
        assert ray.cluster_resources()["CPU"] == 2
    assert ray.is_initialized()
    assert not (tmp_path / "log").exists()


@pytest.mark.ray
def test_ray_data_never_ends_work_for_taking_long(
    ray_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard may take longer than Ray's own limit, 30 minutes without an output, and so may a machine to come."""
    from ray.data import DataContext

    context = DataContext.get_current()
    assert context.execution_no_progress_timeout_s == -1  # as the session of these tests has set it
    monkeypatch.setattr(context, "execution_no_progress_timeout_s", 1800)
    with ray_session(tmp_path / "log"):  # one that joins a Ray of others
        assert DataContext.get_current().execution_no_progress_timeout_s == -1
    assert "execution_no_progress_timeout_s" in {field.name for field in fields(DataContext)}  # Ray still asks for it


@pytest.fixture
def short_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Two places with short names where everybody writes, as /tmp and /var/tmp."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="s") as first,
        tempfile.TemporaryDirectory(dir="/tmp") as second,
    ):
        monkeypatch.setattr(sessions, "_SHORT_FOLDERS", (first, second))
        yield Path(first), Path(second)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_folder_for_temporary_files_gives_way_to_a_short_one_of_this_user(
    variable: str, short_places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert short_folder() is None
    monkeypatch.setenv(variable, "/tmp/" + "x" * 28)  # with "/ray" 37 bytes
    assert short_folder() is None
    monkeypatch.setenv(variable, "/tmp/" + "x" * 29)
    private = short_places[0] / f"ray-{os.getuid()}"
    assert short_folder() == f"{private}/ray"
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_short_folder_that_others_have_prepared_is_not_used(
    short_places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 100)
    theirs, other = (place / f"ray-{os.getuid()}" for place in short_places)
    theirs.mkdir()
    theirs.chmod(0o777)
    assert short_folder() == f"{other}/ray"
    other.rmdir()
    other.symlink_to(theirs)
    with pytest.raises(PipelineError, match=r"too long for the sockets of Ray .* by RAY_TMPDIR"):
        short_folder()
