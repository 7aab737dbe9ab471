"""What training survives: lost workers and drivers, damaged states, full disks, a second run, numbers without bound."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import torch

from model.checkpoint import load_checkpoint
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress
from pipelines.tracking.stores import EXPERIMENT
from pipelines.training.stage import read_history
from tests.faults import Survived
from tests.jobs.command import irodori
from tests.pipelines.training.train_helpers import (
    BATCH,
    Bench,
    alive,
    checkpointed,
    found_at,
    images_compared,
    losses,
    processes_named,
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
    _kill_driver(bench, out, workers=2)
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
    _kill_driver(bench, out, workers=1)
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


def test_a_run_whose_numbers_grew_without_bound_stops_and_goes_on_calmer(
    bench: Bench, tmp_path: Path, survived: Survived
) -> None:
    out = tmp_path / "out"
    short: dict[str, Any] = {"images": 2 * BATCH, "sample_images": 10**6}
    with pytest.raises(PipelineError, match="not finite: its loss") as stopped:
        bench.train(out, **short, learning_rate=1e6)
    said = str(stopped.value)
    assert "training v1.noisy stopped at step 2 (16 images)" in said
    assert "(rows " in said
    assert "--set learning_rate=100000" in said
    assert not (out / "lineage.json").exists()
    assert not (out / "checkpoint").exists()
    assert [record["images_seen"] for record in read_history(str(out)) if "loss" in record] == [BATCH]
    assert _runs(bench, out) == [("FAILED", 0, 1)]

    with pytest.raises(PipelineError, match="weight_decay"):
        bench.plan(out, **short, weight_decay=0.1)
    bench.train(out, **short)
    assert [record["images_seen"] for record in read_history(str(out)) if "loss" in record] == [8, 16]
    assert not (out / "stopped.json").exists()
    (change,) = json.loads((out / "checkpoint" / "changes.json").read_text())
    assert change["changed"]["learning_rate"][0] == 1e6
    assert sorted(_runs(bench, out)) == [("FAILED", 0, 1), ("FINISHED", 1, 1)]
    survived("loss that is not finite", work="training", lost=2 * BATCH - len(losses(out)) * BATCH, doubled=0)


def test_a_damaged_newest_state_costs_only_the_steps_since_the_one_before(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    out = _unfinished(undisturbed, tmp_path)
    moments = out / "states" / f"{64:012d}" / "optimizer.safetensors"
    data = bytearray(moments.read_bytes())
    data[len(data) // 2] ^= 1
    moments.write_bytes(data)
    report = bench.train(out)
    assert report.resumed_from == 48
    assert report.damaged.keys() == {str(moments.parent)}
    assert "optimizer.safetensors is damaged" in report.damaged[str(moments.parent)]
    assert read_history(str(out)) == read_history(str(undisturbed))
    survived("newest state damaged", work="training", **images_compared(out, undisturbed))


def test_where_all_states_are_damaged_it_says_so_before_an_engine_starts(
    bench: Bench, undisturbed: Path, tmp_path: Path
) -> None:
    out = _unfinished(undisturbed, tmp_path)
    for state in (out / "states").iterdir():
        (state / "history.jsonl").unlink()
    with pytest.raises(PipelineError, match=r"no state in .* is whole \(states/0+64: history.jsonl is missing; s"):
        bench.plan(out)


def test_a_finished_run_is_made_longer_with_other_intervals_while_a_second_one_is_refused(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    """Of the undisturbed run of 64 images what a run of 48 leaves, gone on from."""
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    shutil.rmtree(out / "states" / f"{64:012d}")
    recipe = json.loads((out / "recipe.json").read_text())
    (out / "recipe.json").write_text(json.dumps(recipe | {"images": 48}))
    history = [record for record in read_history(str(out)) if record["images_seen"] <= 48]
    (out / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    assert bench.train(out, images=48).already_complete

    refused: list[str] = []

    def second(_: Progress) -> None:
        try:
            bench.train(out, checkpoint_images=8, validate_images=8)
        except PipelineError as error:
            refused.append(str(error))

    report = bench.train(out, checkpoint_images=8, validate_images=8, progress=second)
    assert (report.resumed_from, report.images_seen) == (48, 64)
    assert losses(out) == pytest.approx(losses(undisturbed), rel=0, abs=TOLERANCE)
    assert "is being written by another run (process " in refused[0]
    validated = [record["images_seen"] for record in read_history(str(out)) if "validation_loss" in record]
    assert validated == [0, 32, 56, 64]
    assert json.loads((out / "changes.json").read_text())[0]["changed"].keys() == {
        "images",
        "checkpoint_images",
        "validate_images",
    }
    survived("second run on one output", work="training", **images_compared(out, undisturbed))


def test_a_full_disk_at_a_state_is_one_error_at_once_and_room_lets_it_go_on(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        out = disk / "out"
        with pytest.raises(PipelineError, match=rf"{out}/states/0+16: .*No space left.*Make room there"):
            bench.train(out, sample_images=10**6)
        assert _runs(bench, out) == [("FAILED", 0, 1)]  # no other try
        assert list((out / "states").iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        bench.train(out, sample_images=10**6)
        assert losses(out) == losses(undisturbed)
        survived("disk full at a state", work="training", **images_compared(out, undisturbed))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_with_average_offset_noise_and_min_snr_stopping_and_another_number_of_workers_change_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"ema_decay": 0.99, "offset_noise": 0.05, "min_snr_gamma": 5.0, "sample_images": 10**6}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    bench.train(whole, workers=2, **options)
    _kill_driver(bench, stopped, workers=1, **options)
    assert 0 < bench.train(stopped, workers=2, **options).resumed_from < 64
    assert losses(stopped) == pytest.approx(losses(whole), rel=0, abs=TOLERANCE)
    plain, metadata = load_checkpoint(whole / "checkpoint")
    assert metadata.ema_decay == 0.99
    averaged = load_checkpoint(whole / "checkpoint", ema=True)[0].state_dict()
    resumed = load_checkpoint(stopped / "checkpoint", ema=True)[0].state_dict()
    for name, average in averaged.items():
        torch.testing.assert_close(resumed[name], average, rtol=0, atol=TOLERANCE)
    assert any(not torch.equal(weight, averaged[name]) for name, weight in plain.state_dict().items())


def _unfinished(undisturbed: Path, folder: Path) -> Path:
    """A copy of a run that was stopped after its last step, before its result was put in place."""
    out = folder / "out"
    shutil.copytree(undisturbed, out)
    for name in ("lineage.json", "history.jsonl"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoint")
    return out


def _runs(bench: Bench, out: Path) -> list[tuple[str, int, int]]:
    """Of the MLflow runs of an output: how each ended, how many model versions it registered, and how often its workers
    were started."""
    client = mlflow.MlflowClient(bench.store)
    (experiment,) = [found for found in client.search_experiments() if found.name == EXPERIMENT]
    found = client.search_runs([experiment.experiment_id])
    return [
        (
            run.info.status,
            len(client.search_model_versions(f"run_id = '{run.info.run_id}'")),
            len(client.get_metric_history(run.info.run_id, "start")),
        )
        for run in found
        if run.data.tags["irodori.output"] == str(out)
    ]


@contextmanager
def _assassin(out: Path, drill_random: np.random.Generator) -> Iterator[None]:
    """Kills one training worker of this process's Ray once the run in `out` has a checkpoint."""
    killed: list[int] = []

    def strike() -> None:
        workers = found_at(lambda: training_workers(os.getpid()), lambda: checkpointed(out), number=2)
        victim = workers[drill_random.integers(len(workers))]
        victim.kill()
        killed.append(victim.pid)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    yield
    thread.join()
    assert killed, "the run ended before a worker could be killed"


def _kill_driver(bench: Bench, out: Path, workers: int, **changes: Any) -> None:
    """SIGKILL the driver once its run has a first state; its workers must die of it, or they would write on.

    They are stopped at that state, so that no fast machine ends the run first. Their raylet dies with the driver:
    either it ends them before, or they end because it is gone, which stopped processes cannot; so they go on then.
    Ray's two agents outlive the driver by a minute without touching anything; they are ended here.
    """
    arguments = bench.arguments(out, workers, **changes)
    command = [str(Path(sys.executable).with_name("irodori")), *arguments]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        trainers = found_at(lambda: training_workers(driver.pid), lambda: checkpointed(out), number=workers)
        for trainer in trainers:
            trainer.suspend()
        family = psutil.Process(driver.pid).children(recursive=True)
        raylets = processes_named(driver.pid, "raylet")
        assert raylets
    finally:
        driver.kill()
        driver.wait()
    try:
        wait_for(lambda: not alive(raylets) or not alive(trainers), timeout_s=90)
        for trainer in alive(trainers):
            with suppress(psutil.NoSuchProcess):  # ended between the two
                trainer.resume()
        wait_for(lambda: not alive(trainers), timeout_s=30)
    finally:
        for orphan in alive(family):
            orphan.kill()
