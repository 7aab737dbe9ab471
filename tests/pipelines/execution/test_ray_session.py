"""A session is quiet, leaves a running Ray alone, and says within seconds when a cluster is not there."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pipelines.execution.ray_session import ray_session

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
