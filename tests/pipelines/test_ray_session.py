"""A session is quiet, leaves a running Ray alone, and says within seconds when a cluster is not there."""

import time
from pathlib import Path

import pytest

from pipelines.errors import PipelineError
from pipelines.ray_session import ray_session


def test_a_cluster_that_does_not_answer_is_said_within_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        pytest.raises(PipelineError, match=r"cluster at 127\.0\.0\.1:1 does not answer"),
        ray_session(tmp_path / "log", address="127.0.0.1:1"),
    ):
        pass
    assert time.monotonic() - started < 6


@pytest.mark.ray
def test_a_ray_that_runs_is_used_and_left_running(ray_engine: None, tmp_path: Path) -> None:
    import ray

    with ray_session(tmp_path / "log", num_cpus=7):
        assert ray.cluster_resources()["CPU"] == 2
    assert ray.is_initialized()
    assert not (tmp_path / "log").exists()
