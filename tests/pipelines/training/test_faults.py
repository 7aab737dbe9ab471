"""What training survives: the loss of a worker and of the driver. It ends as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import torch

from model.checkpoint import load_checkpoint
from pipelines.common.progress import Progress
from pipelines.training.stage import read_history
from tests.faults import Survived
from tests.jobs.command import irodori
from tests.pipelines.training.train_helpers import (
    Bench,
    alive,
    checkpointed,
    images_compared,
    losses,
    training_workers,
    wait_for,
)

pytestmark = [pytest.mark.drill, pytest.mark.ray]

TOLERANCE = 1e-5


def test_a_killed_worker_is_replaced_and_the_run_ends_as_an_undisturbed_one(
    bench: Bench, undisturbed: Path, tmp_path: Path, drill_random: np.random.Generator, survived: Survived
) -> None:
    out, news = tmp_path / "out", list[Progress]()
    with _assassin(out, drill_random):
        report = bench.train(out, progress=news.append)
    assert read_history(str(out)) == read_history(str(undisturbed))
    assert (report.restarts, report.resumed_from) == (1, 0)
    assert any(item.note.startswith("goes on from ") for item in news)
    survived("worker killed", work="training", **images_compared(out, undisturbed))


def test_a_killed_driver_resumes_by_the_same_command(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    out = tmp_path / "out"
    _kill_driver(bench.arguments(out), out)
    assert not (out / "lineage.json").exists()
    done = irodori(*bench.arguments(out), cwd=tmp_path)
    assert "done (resumed from " in done.stdout
    assert read_history(str(out)) == read_history(str(undisturbed))
    survived("driver killed", work="training", **images_compared(out, undisturbed))


def test_a_stopped_run_says_what_goes_on_and_leaves_nobody(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    out = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("irodori")), *bench.arguments(out)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: checkpointed(out) or driver.poll() is not None)
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert said.splitlines()[-1].startswith(
        "irodori: stopped; checkpoints and history are kept. To go on: irodori train"
    )
    assert alive(family) == []
    (stopped,) = mlflow.MlflowClient(bench.store).search_runs(["1"], f"tags.`irodori.output` = '{out}'")
    assert stopped.info.status == "KILLED"
    assert "done (resumed from " in irodori(*bench.arguments(out), cwd=tmp_path).stdout
    assert read_history(str(out)) == read_history(str(undisturbed))
    survived("SIGINT", work="training", **images_compared(out, undisturbed))


def test_a_run_may_go_on_with_another_number_of_workers(bench: Bench, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _kill_driver(bench.arguments(out, workers=1), out)
    report = bench.train(out, workers=2)
    assert 0 < report.resumed_from < 64
    assert losses(out) == pytest.approx(losses(undisturbed), rel=0, abs=TOLERANCE)


def test_a_driver_that_was_killed_after_the_last_step_only_has_to_put_things_in_place(
    bench: Bench, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    (out / "lineage.json").unlink()
    (out / "history.jsonl").unlink()
    shutil.rmtree(out / "checkpoint")
    report = bench.train(out)
    assert (report.resumed_from, report.restarts) == (64, 0)
    assert read_history(str(out)) == read_history(str(undisturbed))
    assert (out / "checkpoint" / "model.safetensors").exists()


@pytest.mark.slow
def test_with_average_offset_noise_and_min_snr_stopping_and_another_number_of_workers_change_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"ema_decay": 0.99, "offset_noise": 0.05, "min_snr_gamma": 5.0, "sample_images": 10**6}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    bench.train(whole, workers=2, **options)
    _kill_driver(bench.arguments(stopped, workers=1, **options), stopped)
    assert 0 < bench.train(stopped, workers=2, **options).resumed_from < 64
    assert losses(stopped) == pytest.approx(losses(whole), rel=0, abs=TOLERANCE)
    plain, metadata = load_checkpoint(whole / "checkpoint")
    assert metadata.ema_decay == 0.99
    averaged = load_checkpoint(whole / "checkpoint", ema=True)[0].state_dict()
    resumed = load_checkpoint(stopped / "checkpoint", ema=True)[0].state_dict()
    for name, average in averaged.items():
        torch.testing.assert_close(resumed[name], average, rtol=0, atol=TOLERANCE)
    assert any(not torch.equal(weight, averaged[name]) for name, weight in plain.state_dict().items())


@contextmanager
def _assassin(out: Path, drill_random: np.random.Generator) -> Iterator[None]:
    """Kills one training worker of this process's Ray once the run in `out` has a checkpoint."""
    killed: list[int] = []

    def strike() -> None:
        wait_for(lambda: checkpointed(out))
        workers = training_workers(os.getpid())
        victim = workers[drill_random.integers(len(workers))]
        victim.kill()
        killed.append(victim.pid)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    yield
    thread.join()
    assert killed, "the run ended before a worker could be killed"


def _kill_driver(arguments: list[str], out: Path) -> None:
    """SIGKILL the driver once its run has a checkpoint; its workers must die of it, or they would write on.

    Ray's two agents outlive it by a minute without touching anything; they are ended here.
    """
    command = [str(Path(sys.executable).with_name("irodori")), *arguments]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: checkpointed(out) or driver.poll() is not None)
        assert driver.poll() is None, "the run ended before its driver could be killed"
        family, workers = psutil.Process(driver.pid).children(recursive=True), training_workers(driver.pid)
        assert workers
    finally:
        driver.kill()
        driver.wait()
    try:
        wait_for(lambda: not alive(workers), timeout_s=30)
    finally:
        for orphan in alive(family):
            orphan.kill()
