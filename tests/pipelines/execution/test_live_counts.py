"""Progress within a shard: told while tasks run, never backwards, and left alone where nobody listens."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from pipelines.common.progress import Clock, Progress
from pipelines.corpus_build.build import run_build
from pipelines.execution import live_counts
from pipelines.execution.live_counts import LiveCounts, TaskCount
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    """What is told, as often as it can be."""
    monkeypatch.setattr(live_counts, "EVERY_S", 0.0)
    return []


def live(news: list[Progress]) -> LiveCounts:
    return LiveCounts(Clock("make columns", 100, "pictures", "", news.append))


def wait_for(news: list[Progress], done: int) -> None:
    end = time.monotonic() + 10
    while news[-1].done != done:
        assert time.monotonic() < end, news
        time.sleep(0.01)


def test_pictures_of_running_tasks_are_told_and_those_of_ended_ones_once(news: list[Progress]) -> None:
    with live(news) as counts:
        one, other = (TaskCount(counts.folder, name) for name in ("a", "b"))
        one(7)
        wait_for(news, 7)
        other(3)
        wait_for(news, 10)
        one.end()
        counts.ended(20, "reused 1 of 2")
        wait_for(news, 23)
        assert news[-1].note == "reused 1 of 2"
        folder = Path(counts.folder)
    assert not folder.exists()
    assert [item.done for item in news] == sorted(item.done for item in news)


def test_a_task_that_starts_again_does_not_turn_progress_back(news: list[Progress]) -> None:
    with live(news) as counts:
        TaskCount(counts.folder, "a")(9)
        wait_for(news, 9)
        TaskCount(counts.folder, "a")(2)
        counts.ended(4)
        assert news[-1].done == 9


def test_a_task_on_another_machine_tells_at_its_end_alone(tmp_path: Path, news: list[Progress]) -> None:
    count = TaskCount(str(tmp_path / "not here"), "a")
    count(5)
    count.end()
    TaskCount("", "a")(5)
    assert list(tmp_path.iterdir()) == []


def test_the_tasks_of_a_build_count_picture_by_picture_in_each_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, news: list[Progress]
) -> None:
    counted: list[float] = []
    tell = TaskCount.__call__

    def watched(count: TaskCount, done: float) -> None:
        counted.append(done)
        tell(count, done)

    monkeypatch.setattr(TaskCount, "__call__", watched)
    source = write_pictures(tmp_path / "source", 12)
    run_build([str(source)], str(tmp_path / "out"), SMALL, engine=in_process, progress=news.append)
    scanned, made = counted[:12], counted[12:]
    assert scanned == list(range(1, 13))
    assert len(made) == 12
    assert all(after == pytest.approx(1) or after - before == pytest.approx(1) for before, after in pairwise(made))
    for stage in ("scan pictures", "make columns"):
        told = [item.done for item in news if item.stage == stage]
        assert told[-1] == 12
        assert told == sorted(told)
